//! Which crate of the workspace may depend on which: arrows point down only.

use crate::workspace::Package;

/// What one crate may use of the others.
struct Layer {
    name: &'static str,
    /// The crates that it may depend on in what it ships.
    uses: &'static [&'static str],
    /// The crates that its tests may depend on besides.
    tests_use: &'static [&'static str],
}

/// Lowest first. A crate that is not here yet is a question of design: answer it, then add it.
const LAYERS: &[Layer] = &[
    Layer {
        name: CORE,
        uses: &[],
        tests_use: &[],
    },
    Layer {
        name: "presence-embedded",
        uses: &[CORE],
        tests_use: &[TESTKIT],
    },
    Layer {
        name: "presence-redis",
        uses: &[CORE],
        tests_use: &[TESTKIT],
    },
    Layer {
        name: "presence-mongo",
        uses: &[CORE],
        tests_use: &[TESTKIT],
    },
    Layer {
        name: "presence-hub",
        uses: &[CORE],
        tests_use: &["presence-embedded", "presence-redis", TESTKIT],
    },
    Layer {
        name: "presence-protocol",
        uses: &[],
        tests_use: &[],
    },
    Layer {
        name: "presence-native",
        uses: &[CORE, "presence-hub", "presence-protocol"],
        tests_use: &["presence-client", "presence-embedded", TESTKIT],
    },
    Layer {
        name: "presence-client",
        uses: &["presence-protocol"],
        tests_use: &[],
    },
    Layer {
        name: "presence-web",
        uses: &[],
        tests_use: &[],
    },
    Layer {
        name: "presence-gateway",
        uses: &[
            CORE,
            "presence-embedded",
            "presence-redis",
            "presence-mongo",
            "presence-hub",
            "presence-protocol",
            "presence-native",
            "presence-web",
        ],
        tests_use: &["presence-client", TESTKIT],
    },
    Layer {
        name: TESTKIT,
        uses: &[CORE],
        tests_use: &["presence-embedded"],
    },
    Layer {
        name: "presence-checks",
        uses: &[TESTKIT],
        tests_use: &[],
    },
    Layer {
        name: "presence-load",
        uses: &["presence-client", TESTKIT],
        tests_use: &[],
    },
    Layer {
        name: "presence-chaos",
        uses: &["presence-client", TESTKIT],
        tests_use: &[],
    },
    Layer {
        name: "xtask",
        uses: &[],
        tests_use: &[],
    },
];

/// Pure: what it ships depends on nothing but [`DATA`], and with a feature on [`FORMATS`].
const CORE: &str = "presence-core";

/// Real servers for tests: what is shipped does not know it.
const TESTKIT: &str = "presence-testkit";

/// Tables that follow a standard, which the core may read: no code to speak of, and no input or output.
const DATA: &[&str] = &["emojis"];

/// How its types are written, which the core may use behind a feature that is off by default.
const FORMATS: &[&str] = &["serde", "serde_json"];

/// What is wrong, a line each.
pub(crate) fn check(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| check_package(package, packages))
        .collect()
}

fn check_package(package: &Package, packages: &[Package]) -> Vec<String> {
    let name = &package.name;
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        return vec![format!(
            "{name} has no layer: give it one in xtask/src/layers.rs"
        )];
    };
    let mut wrong = Vec::new();
    for dependency in &package.dependencies {
        let used = dependency.name.as_str();
        let ours = packages.iter().any(|package| package.name == used);
        let in_tests = if dependency.dev { "the tests of " } else { "" };
        if name == CORE && !dependency.dev {
            if DATA.contains(&used) || dependency.optional && FORMATS.contains(&used) {
                continue;
            }
            wrong.push(format!(
                "{CORE} depends on {used}: it must stay free of dependencies"
            ));
        } else if ours
            && !layer.uses.contains(&used)
            && !(dependency.dev && layer.tests_use.contains(&used))
        {
            wrong.push(format!(
                "{in_tests}{name} may not depend on {used}: see xtask/src/layers.rs"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use crate::workspace::Dependency;

    use super::*;

    #[test]
    fn a_workspace_whose_arrows_point_down_is_fine() {
        check_arrows(
            "
presence-core     => proptest
presence-embedded -> presence-core redb
presence-hub      -> presence-core tokio => presence-embedded
presence-testkit  -> presence-core => presence-embedded
presence-redis    -> presence-core => presence-testkit
presence-protocol -> serde
presence-native   -> presence-core presence-hub presence-protocol => presence-client
presence-client   -> presence-protocol
presence-gateway  -> presence-core presence-embedded presence-hub presence-native presence-protocol => presence-client
xtask             -> anyhow
",
            &[],
        );
    }

    #[test]
    fn the_core_ships_with_tables_of_data_and_no_other_dependency() {
        check_arrows(
            "presence-core -> emojis serde serde_json? tokio?",
            &[
                "presence-core depends on serde: it must stay free of dependencies",
                "presence-core depends on tokio: it must stay free of dependencies",
            ],
        );
    }

    #[test]
    fn adapters_do_not_know_each_other() {
        check_arrows(
            "
presence-embedded -> presence-core
presence-redis    -> presence-core presence-embedded
",
            &["presence-redis may not depend on presence-embedded: see xtask/src/layers.rs"],
        );
    }

    #[test]
    fn what_tests_may_use_is_not_for_shipping() {
        check_arrows(
            "
presence-embedded -> presence-core
presence-hub      -> presence-embedded
",
            &["presence-hub may not depend on presence-embedded: see xtask/src/layers.rs"],
        );
    }

    #[test]
    fn nobody_knows_the_gateway_not_even_in_tests() {
        check_arrows(
            "
presence-client  => presence-gateway
presence-gateway => presence-client
",
            &[
                "the tests of presence-client may not depend on presence-gateway: see xtask/src/layers.rs",
            ],
        );
    }

    #[test]
    fn only_tests_and_tools_know_the_testkit_and_nobody_knows_xtask() {
        check_arrows(
            "
presence-core    => proptest
presence-testkit -> presence-core
presence-mongo   -> presence-core presence-testkit
presence-redis   -> presence-core => presence-testkit xtask
presence-chaos   -> presence-testkit
xtask            -> presence-testkit
",
            &[
                "presence-mongo may not depend on presence-testkit: see xtask/src/layers.rs",
                "the tests of presence-redis may not depend on xtask: see xtask/src/layers.rs",
                "xtask may not depend on presence-testkit: see xtask/src/layers.rs",
            ],
        );
    }

    #[test]
    fn a_new_crate_must_be_given_a_layer() {
        check_arrows(
            "presence-util -> serde",
            &["presence-util has no layer: give it one in xtask/src/layers.rs"],
        );
    }

    /// Lines of `crate -> what it ships with => what its tests use`, with a `?` behind what is optional.
    #[track_caller]
    fn check_arrows(arrows: &str, expected: &[&str]) {
        let packages: Vec<Package> = arrows
            .lines()
            .filter(|line| !line.is_empty())
            .map(package)
            .collect();
        assert_eq!(check(&packages), expected);
    }

    fn package(line: &str) -> Package {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap().to_owned();
        let mut dependencies = Vec::new();
        let mut dev = false;
        for word in words {
            match word {
                "->" => dev = false,
                "=>" => dev = true,
                name => dependencies.push(Dependency {
                    name: name.trim_end_matches('?').to_owned(),
                    dev,
                    optional: name.ends_with('?'),
                }),
            }
        }
        Package {
            name,
            is_published: true,
            dependencies,
        }
    }
}
