use image_swap_core::{
    control::effective::SecretData,
    fleet::{
        inventory::{
            ClusterSource, cluster_api,
            found::{CLUSTER_API_TYPE, CLUSTER_NAME, CredentialSecret},
            selector::LabelSelector,
        },
        kubeconfig::RemoteCredential,
    },
};
use serde_json::json;

use super::*;

const NAMESPACE: &str = "clusters";
const SOURCE: ClusterSource = ClusterSource::ClusterApi;

fn state() -> InventoryState {
    InventoryState::new(&SourceSettings {
        namespaces: BTreeSet::from([NAMESPACE.to_owned()]),
        selector: LabelSelector::default(),
        sources: BTreeSet::from([SOURCE]),
        providers: Vec::new(),
        search_interval: Duration::MAX,
    })
}

fn cluster(name: &str, label: &str) -> FoundCluster {
    let object = json!({
        "metadata": {
            "namespace": NAMESPACE, "name": name, "uid": name, "labels": { "label": label },
        },
        "status": { "controlPlaneReady": true },
    });
    cluster_api::found(&object).unwrap()
}

fn key(name: &str) -> ClusterKey {
    ClusterKey { namespace: NAMESPACE.into(), source: SOURCE, name: name.into() }
}

fn secret_key(name: &str) -> SecretKey {
    SecretKey { namespace: NAMESPACE.into(), name: name.into() }
}

fn listed(clusters: Vec<FoundCluster>) -> SourceEvent {
    SourceEvent::Listed { namespace: NAMESPACE.into(), source: SOURCE, clusters }
}

fn changed(found: FoundCluster) -> SourceEvent {
    SourceEvent::Changed(Box::new(found))
}

fn reported(name: &str, version: Option<&str>) -> SourceEvent {
    SourceEvent::Secret { secret: secret_key(name), version: version.map(str::to_owned) }
}

/// Returns the Secret of the cluster `name` with a token.
#[expect(clippy::unnecessary_wraps, reason = "the result of a request")]
fn kubeconfig(name: &str, version: &str, token: &str) -> ReadResult {
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
         clusters: [{{name: a, cluster: {{server: 'https://a'}}}}]\n\
         users: [{{name: a, user: {{token: {token}}}}}]\n"
    );
    Ok(Some(Arc::new(CredentialSecret {
        uid: "uid".into(),
        version: version.into(),
        labels: BTreeMap::from([(CLUSTER_NAME.into(), name.into())]),
        secret: SecretData {
            kind: CLUSTER_API_TYPE.into(),
            data: BTreeMap::from([("value".into(), text.into_bytes())]),
        },
    })))
}

/// Returns the token and the version in the inventory.
fn token(state: &InventoryState, name: &str) -> (String, String) {
    match &state.inventory()[&key(name)].access {
        EntryAccess::Usable { access, version } => match &access.credential {
            RemoteCredential::Token(token) => (token.clone(), version.clone()),
            other @ RemoteCredential::Certificate { .. } => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Requests every queued Secret, and returns their names.
fn requests(state: &mut InventoryState) -> Vec<String> {
    std::iter::from_fn(|| state.next_read()).map(|secret| secret.name).collect()
}

/// Returns a state with the cluster `a` in the inventory.
fn with_cluster() -> InventoryState {
    let mut state = state();
    state.apply(listed(vec![cluster("a", "x")]));
    assert_eq!(requests(&mut state), [REGISTRY_INFO, "a-kubeconfig"]);
    assert_eq!(state.loaded(&secret_key(REGISTRY_INFO), &Ok(None)), None);
    assert!(!state.is_complete());
    assert_eq!(state.loaded(&secret_key("a-kubeconfig"), &kubeconfig("a", "1", "first")), None);
    assert!(state.is_complete() && state.take_changed());
    state
}

#[test]
fn inventory_is_complete_without_clusters() {
    let mut state = state();
    assert_eq!(requests(&mut state), [REGISTRY_INFO]);
    state.apply(SourceEvent::Unlisted { namespace: NAMESPACE.into(), source: SOURCE });
    assert!(!state.is_complete());
    state.loaded(&secret_key(REGISTRY_INFO), &Err("forbidden".into()));
    assert!(state.is_complete() && !state.take_changed() && state.inventory().is_empty());
    // Clusters that cannot be listed are not gone.
    let source = (NAMESPACE.to_owned(), SOURCE);
    assert!(state.refused().iter().eq([&source]));
    state.apply(listed(Vec::new()));
    assert!(state.take_changed() && state.refused().is_empty());
    state.apply(SourceEvent::Unlisted { namespace: NAMESPACE.into(), source: SOURCE });
    assert!(!state.take_changed() && state.refused().is_empty());
}

#[test]
fn rotated_kubeconfig_changes_the_version() {
    let mut state = with_cluster();
    assert_eq!(token(&state, "a"), ("first".into(), "uid/1".into()));
    state.apply(reported("a-kubeconfig", Some("2")));
    assert_eq!(requests(&mut state), ["a-kubeconfig"]);
    state.loaded(&secret_key("a-kubeconfig"), &kubeconfig("a", "2", "second"));
    assert_eq!(token(&state, "a"), ("second".into(), "uid/2".into()));
    assert!(state.take_changed());
}

#[test]
fn known_states_change_nothing() {
    let mut state = with_cluster();
    state.apply(listed(vec![cluster("a", "x")]));
    state.apply(changed(cluster("a", "x")));
    state.apply(reported("a-kubeconfig", Some("1")));
    state.apply(reported(REGISTRY_INFO, None));
    state.apply(reported("another", Some("7")));
    assert!(!state.take_changed());
    assert!(requests(&mut state).is_empty());
}

#[test]
fn changed_labels_need_no_request() {
    let mut state = with_cluster();
    state.apply(changed(cluster("a", "y")));
    assert!(requests(&mut state).is_empty() && state.take_changed());
    assert_eq!(state.inventory()[&key("a")].labels["label"], "y");
    assert_eq!(token(&state, "a").0, "first");
}

#[test]
fn secret_that_changes_during_a_request_is_read_again() {
    let mut state = with_cluster();
    for (version, again) in [("2", false), ("3", true)] {
        state.apply(reported("a-kubeconfig", Some(version)));
        assert_eq!(requests(&mut state), ["a-kubeconfig"]);
        let meanwhile = if again { "4" } else { version };
        state.apply(reported("a-kubeconfig", Some(meanwhile)));
        state.loaded(&secret_key("a-kubeconfig"), &kubeconfig("a", version, "next"));
        assert_eq!(!requests(&mut state).is_empty(), again, "{version}");
    }
}

#[test]
fn entries_disappear_with_their_objects() {
    for gone in [listed(Vec::new()), SourceEvent::Gone(key("a"))] {
        let mut state = with_cluster();
        state.apply(gone);
        assert!(state.inventory().is_empty() && state.take_changed());
        // The Secret is forgotten, too.
        state.apply(reported("a-kubeconfig", Some("2")));
        assert!(requests(&mut state).is_empty());
        assert_eq!(state.loaded(&secret_key("a-kubeconfig"), &Ok(None)), None);
        assert_eq!(state.secrets.len(), 1);
    }
}

#[test]
fn deleted_secret_is_awaited() {
    let deleted: [fn(&mut InventoryState); 2] = [
        |state| state.apply(reported("a-kubeconfig", None)),
        |state| {
            state.apply(SourceEvent::SecretsListing { namespace: NAMESPACE.into() });
            state.apply(SourceEvent::SecretsListed { namespace: NAMESPACE.into() });
        },
    ];
    for delete in deleted {
        let mut state = with_cluster();
        delete(&mut state);
        assert_eq!(requests(&mut state), ["a-kubeconfig"]);
        state.loaded(&secret_key("a-kubeconfig"), &Ok(None));
        let waiting = EntryAccess::Waiting("the Secret a-kubeconfig does not exist".into());
        assert_eq!(state.inventory()[&key("a")].access, waiting);
    }
}

#[test]
fn failing_requests_keep_the_last_access() {
    let mut state = with_cluster();
    state.apply(changed(cluster("b", "x")));
    state.apply(reported("a-kubeconfig", Some("2")));
    let mut waits = Vec::new();
    for _ in 0..7 {
        requests(&mut state);
        let failed = state.loaded(&secret_key("a-kubeconfig"), &Err("no response".into()));
        waits.push(failed.unwrap().as_secs());
        state.retry(&secret_key("a-kubeconfig"));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(token(&state, "a").0, "first");
    assert!(!state.inventory().contains_key(&key("b")));
    state.loaded(&secret_key("b-kubeconfig"), &Err("no response".into()));
    let waiting = EntryAccess::Waiting("cannot read the Secret b-kubeconfig: no response".into());
    assert_eq!(state.inventory()[&key("b")].access, waiting);
}

#[test]
fn registry_info_is_that_of_the_namespace() {
    let mut state = with_cluster();
    assert_eq!(state.inventory()[&key("a")].registry_info, None);
    state.apply(reported(REGISTRY_INFO, Some("1")));
    assert_eq!(requests(&mut state), [REGISTRY_INFO]);
    let info = CredentialSecret {
        uid: "uid".into(),
        version: "1".into(),
        labels: BTreeMap::new(),
        secret: SecretData {
            kind: "Opaque".into(),
            data: BTreeMap::from([("DOMAIN".into(), b"harbor.example.org".to_vec())]),
        },
    };
    state.loaded(&secret_key(REGISTRY_INFO), &Ok(Some(Arc::new(info.clone()))));
    let of = |state: &InventoryState| state.inventory()[&key("a")].registry_info.clone();
    assert_eq!(of(&state).as_deref(), Some(&info.secret));
    // A failing API server does not switch to the other declaration.
    state.apply(reported(REGISTRY_INFO, Some("2")));
    assert_eq!(requests(&mut state), [REGISTRY_INFO]);
    state.loaded(&secret_key(REGISTRY_INFO), &Err("no response".into()));
    assert_eq!(of(&state).as_deref(), Some(&info.secret));
}

#[test]
fn unreadable_registry_info_is_awaited() {
    let mut state = state();
    state.apply(listed(vec![cluster("a", "x")]));
    requests(&mut state);
    state.loaded(&secret_key(REGISTRY_INFO), &Err("forbidden".into()));
    state.loaded(&secret_key("a-kubeconfig"), &kubeconfig("a", "1", "x"));
    let waiting = EntryAccess::Waiting("cannot read the Secret registry-info: forbidden".into());
    assert_eq!(state.inventory()[&key("a")].access, waiting);
    assert!(state.is_complete());
}
