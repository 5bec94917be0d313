//! Which paths of a gateway the world may reach. Proxies in front of it are set up by this list, and tests hold that
//! those in `deploy` are.

/// Who may reach a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Clients, pages and back ends: it checks by itself who asks.
    Public,
    /// Operators and the machinery around the gateway only: it needs no token, or tells too much.
    Inside,
}

/// Which paths a line of the list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The path itself, and nothing below it.
    Exact,
    /// Every path that begins with it. It ends with a slash.
    Below,
}

/// A path, or all paths below one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The path, as it stands in a URL, or the beginning of the paths.
    pub path: &'static str,
    /// Whether the line covers this path only, or all paths below it.
    pub reach: Reach,
    /// From where these paths may be reached.
    pub exposure: Exposure,
}

const fn public(path: &'static str, reach: Reach) -> Exposed {
    let exposure = Exposure::Public;
    Exposed {
        path,
        reach,
        exposure,
    }
}

const fn inside(path: &'static str, reach: Reach) -> Exposed {
    let exposure = Exposure::Inside;
    Exposed {
        path,
        reach,
        exposure,
    }
}

/// The paths that a gateway answers. What is not here is inside, like the files of the page, whose names have a hash.
pub const EXPOSED: &[Exposed] = &[
    public("/ws", Reach::Exact),
    public("/socket/", Reach::Below),
    public("/cable", Reach::Exact),
    public("/app/", Reach::Below),
    public("/apps/", Reach::Below),
    public("/api/", Reach::Below),
    public("/presence.js", Reach::Exact),
    public("/presence-elements.js", Reach::Exact),
    public("/presence.d.ts", Reach::Exact),
    inside("/", Reach::Exact),
    inside("/favicon.svg", Reach::Exact),
    inside("/openapi.json", Reach::Exact),
    inside("/livez", Reach::Exact),
    inside("/readyz", Reach::Exact),
    inside("/health", Reach::Exact),
    inside("/metrics", Reach::Exact),
    inside("/admin", Reach::Exact),
    inside("/admin/", Reach::Below),
];

impl Exposed {
    /// Whether this line is about `path`.
    pub fn covers(&self, path: &str) -> bool {
        match self.reach {
            Reach::Exact => path == self.path,
            Reach::Below => path.starts_with(self.path),
        }
    }
}

/// From where `path` may be reached.
pub fn exposure_of(path: &str) -> Exposure {
    let found = EXPOSED.iter().find(|it| it.covers(path));
    found.map_or(Exposure::Inside, |it| it.exposure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ROUTES;
    use crate::router;

    #[test]
    fn what_clients_and_back_ends_use_is_public_and_nothing_else_is() {
        for path in [
            "/ws",
            "/socket/websocket",
            "/cable",
            "/app/key",
            "/apps/1/events",
        ] {
            assert_eq!(exposure_of(path), Exposure::Public, "{path}");
        }
        for path in [
            "/", "/health", "/metrics", "/admin", "/admin/x", "/wsx", "/api", "/none",
        ] {
            assert_eq!(exposure_of(path), Exposure::Inside, "{path}");
        }
    }

    #[test]
    fn every_route_is_in_the_list() {
        let is_listed = |path: &str| EXPOSED.iter().any(|it| it.covers(path));
        for route in ROUTES {
            let exposure = match route.path.starts_with("/admin/") {
                true => Exposure::Inside,
                false => Exposure::Public,
            };
            assert_eq!(exposure_of(route.path), exposure, "{}", route.path);
        }
        for asset in presence_web::paths() {
            let is_of_the_page = asset.starts_with("/page-") || asset.starts_with("/admin");
            assert!(is_of_the_page || is_listed(asset), "{asset}");
            assert!(!is_of_the_page || exposure_of(asset) == Exposure::Inside);
        }
        for it in EXPOSED {
            let path = format!("{}websocket", it.path);
            let is_dialect = router::dialect_at(it.path)
                .or(router::dialect_at(&path))
                .is_some();
            assert!(
                !is_dialect || it.exposure == Exposure::Public,
                "{}",
                it.path
            );
        }
    }
}
