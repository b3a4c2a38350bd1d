//! Properties of the parser for any text.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::Map;

use super::*;

/// Text of every value in the tests, which no message may contain.
const MARK: &str = "Zq7Zq7";

const HARMLESS: [&str; 4] = ["extensions", "disable-compression", "namespace", "tls-server-name"];
const REFUSED: [&str; 14] = [
    "exec",
    "auth-provider",
    "tokenFile",
    "client-certificate",
    "client-key",
    "as",
    "as-uid",
    "as-groups",
    "as-user-extra",
    "username",
    "password",
    "proxy-url",
    "certificate-authority",
    "insecure-skip-tls-verify",
];
const READ: [&str; 5] =
    ["server", "certificate-authority-data", "token", "client-certificate-data", "client-key-data"];

fn value() -> impl Strategy<Value = Value> {
    let text = select(vec![
        MARK.to_owned(),
        format!("https://{MARK}.example.org"),
        format!("https://{MARK}:{MARK}@a"),
        base64::encode(CA),
        base64::encode(key("PRIVATE KEY")),
        base64::encode(MARK),
        format!("{MARK} {MARK}"),
    ]);
    prop_oneof![
        6 => text.prop_map(Value::from),
        1 => Just(json!(null)),
        1 => Just(json!("")),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!([MARK])),
        1 => Just(json!({ MARK: MARK })),
    ]
}

fn field() -> impl Strategy<Value = (String, Value)> {
    let known = HARMLESS.iter().chain(&REFUSED).chain(&READ).map(|it| (*it).to_owned());
    let names: Vec<String> = known.chain([MARK.to_owned()]).collect();
    (select(names), value())
}

/// Returns kubeconfigs with any fields in cluster and user, of which many are valid.
fn configs() -> impl Strategy<Value = Value> {
    (vec(field(), 0..3), vec(field(), 0..3), any::<bool>()).prop_map(|(cluster, user, whole)| {
        let mut config = kubeconfig();
        config["users"][1]["user"]["token"] = MARK.into();
        let add = |target: &mut Value, fields: Vec<(String, Value)>| {
            let mut object = if whole { target.as_object().cloned().unwrap() } else { Map::new() };
            object.extend(fields);
            *target = object.into();
        };
        add(&mut config["clusters"][0]["cluster"], cluster);
        add(&mut config["users"][1]["user"], user);
        config
    })
}

/// Returns true if clients of Kubernetes treat `value` as present.
fn is_there(value: &Value) -> bool {
    !value.is_null() && *value != "" && *value != false
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = RemoteAccess::parse(&bytes);
    }

    #[test]
    fn any_change_of_text_is_harmless(
        at in any::<prop::sample::Index>(),
        length in 0..40_usize,
        replacement in "[ -~\n]{0,20}",
        as_yaml in any::<bool>(),
    ) {
        let config = kubeconfig();
        let mut text = if as_yaml { format!("{config:#}") } else { config.to_string() };
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        text.replace_range(start..end, &replacement);
        if let Err(error) = RemoteAccess::parse(text.as_bytes()) {
            prop_assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn refusals_quote_no_value(config in configs()) {
        if let Err(error) = parse(&config) {
            prop_assert!(!error.to_string().contains(MARK), "{error}");
        }
    }

    #[test]
    fn accepted_kubeconfigs_have_no_refused_field(config in configs()) {
        if let Ok(access) = parse(&config) {
            for part in [&config["clusters"][0]["cluster"], &config["users"][1]["user"]] {
                for field in REFUSED {
                    prop_assert!(!is_there(&part[field]), "{field}");
                }
                prop_assert!(part.get(MARK).is_none());
            }
            prop_assert!(access.server.starts_with("https://"));
            prop_assert!(!access.server.contains('@'));
        }
    }
}
