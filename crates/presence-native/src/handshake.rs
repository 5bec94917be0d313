//! What a client says in the request that opens its WebSocket.

use presence_protocol::BEARER;

use crate::connection::Encoding;
use crate::identity::{Asked, Identity, Scopes};
use crate::request::Refused;

/// What a client of the native protocol says in the request that opens its WebSocket: in its query, and in the
/// subprotocols that it offers.
///
/// Everything is only claimed. Your server decides who the client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// The encoding of the frames.
    pub encoding: Encoding,
    /// The subprotocol to agree on in the answer; `None` if the client offers none.
    pub protocol: Option<&'static str>,
    /// The token that says who the client is: from the subprotocols, where browsers have to put it, or from `token` in
    /// the query. A server that accepts an `Authorization` header, too, sets it.
    pub token: Option<String>,
    /// The resume token of an earlier connection, whose session the client wants to continue.
    pub resume: Option<String>,
    /// The user that the client claims to be.
    pub user_id: Option<String>,
    /// The name that the client gives itself.
    pub name: Option<String>,
    /// The device that the client names, such as `web:5f0c`. It is believed if the identity names none.
    pub device_id: Option<String>,
    /// The workspaces that the client claims to be in, with commas between.
    pub workspace_id: Option<String>,
}

impl Handshake {
    /// Reads the query of the URL, without the `?`, and the subprotocols that the client offers: the values of its
    /// `Sec-WebSocket-Protocol` headers, each of which may have several with commas between.
    ///
    /// ```
    /// use presence_native::Handshake;
    ///
    /// let offered = ["presence.v1.json, presence.bearer.eyJhbGci"];
    /// let handshake = Handshake::read("device_id=web%3A5f0c&resume=AbCd.EfGh", offered)?;
    /// assert_eq!(handshake.protocol, Some("presence.v1.json"));
    /// assert_eq!(handshake.token.as_deref(), Some("eyJhbGci"));
    /// assert_eq!(handshake.device_id.as_deref(), Some("web:5f0c"));
    /// # Ok::<(), presence_native::Refused>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the client offers subprotocols and none of them is ours. Answer that with 400: the client speaks another
    /// protocol.
    pub fn read<'a>(
        query: &str,
        offered: impl IntoIterator<Item = &'a str>,
    ) -> Result<Handshake, Refused> {
        let offered = offered.into_iter().flat_map(|it| it.split(','));
        let offered: Vec<&str> = offered.map(str::trim).collect();
        let chosen = Encoding::offered(&offered)?;
        let bearer = offered.iter().find_map(|it| it.strip_prefix(BEARER));
        let mut handshake = Handshake {
            encoding: chosen.map_or(Encoding::Json, |(_, encoding)| encoding),
            protocol: chosen.map(|(name, _)| name),
            token: bearer.map(str::to_owned),
            ..Handshake::default()
        };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*key {
                "token" => &mut handshake.token,
                "resume" => &mut handshake.resume,
                "user_id" => &mut handshake.user_id,
                "name" => &mut handshake.name,
                "device_id" => &mut handshake.device_id,
                "workspace_id" => &mut handshake.workspace_id,
                _ => continue,
            };
            // The first one counts, and an empty one is none.
            if field.is_none() && !value.is_empty() {
                *field = Some(value.into_owned());
            }
        }
        Ok(handshake)
    }

    /// The identity that the client claims, with the rights of an ordinary user: for an example, or a network where
    /// everybody is trusted. Nothing is verified. A client that names no user gets a random id that begins with `anon_`,
    /// and one that names no workspace is in `default`.
    ///
    /// # Errors
    ///
    /// Fails if an id has a bad value, and names its field. Pass the error on to [`Server::serve`](crate::Server::serve),
    /// which tells the client.
    pub fn claimed(&self) -> Result<Identity, Refused> {
        let identity = self.asked().identity()?;
        Ok(Identity {
            scopes: Scopes::of_a_user(),
            ..identity
        })
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            user_id: self.user_id.as_deref(),
            name: self.name.as_deref(),
            device_id: self.device_id.as_deref(),
            workspace_id: self.workspace_id.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use presence_protocol::{ErrorCode, POSTCARD};

    use super::*;

    #[test]
    fn the_first_subprotocol_of_ours_is_spoken_and_a_foreign_one_is_refused() {
        let read = |offered: &[&'static str]| Handshake::read("", offered.iter().copied());
        let both = read(&["mqtt", "presence.v1.postcard, presence.v1.json"]).unwrap();
        assert_eq!(both.encoding, Encoding::Postcard);
        assert_eq!(both.protocol, Some(POSTCARD));
        let none = read(&[]).unwrap();
        assert_eq!((none.encoding, none.protocol), (Encoding::Json, None));
        let foreign = read(&["mqtt"]).unwrap_err();
        assert_eq!(foreign.code, ErrorCode::Malformed);
        assert_eq!(
            foreign.to_string(),
            "offer presence.v1.json or presence.v1.postcard"
        );
    }

    #[test]
    fn the_token_of_a_subprotocol_goes_before_that_of_the_query() {
        let read = |query: &str, offered: &'static str| Handshake::read(query, [offered]).unwrap();
        let both = read("token=b", "presence.v1.json, presence.bearer.a");
        assert_eq!(both.token.as_deref(), Some("a"));
        let query = read("token=b&token=c", "presence.v1.json");
        assert_eq!(query.token.as_deref(), Some("b"));
        assert_eq!(read("token=", "presence.v1.json").token, None);
    }

    #[test]
    fn who_claims_to_be_somebody_has_the_rights_of_a_user_and_bad_ids_are_named() {
        let claimed = |query: &str| Handshake::read(query, []).unwrap().claimed();
        let ann = claimed("user_id=ann&name=Ann%20B.&workspace_id=acme,umbrella").unwrap();
        assert_eq!(
            (ann.user.as_str(), ann.name.as_deref()),
            ("ann", Some("Ann B."))
        );
        assert_eq!(ann.workspaces.len(), 2);
        assert!(ann.may_administer().is_err() && ann.may_read().is_err());
        assert!(claimed("").unwrap().user.is_anonymous());
        for (query, field) in [
            ("user_id=a%20b", "user_id"),
            ("user_id=pusher/1/ann", "user_id"),
            ("workspace_id=a,,b", "workspace_id"),
        ] {
            let why = claimed(query).unwrap_err();
            assert_eq!(why.field.as_deref(), Some(field), "{query}");
        }
    }
}
