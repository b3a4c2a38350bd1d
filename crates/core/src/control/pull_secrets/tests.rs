use proptest::prelude::*;

use super::*;

fn existing(managed: bool, current: bool) -> PullSecretState {
    PullSecretState { managed, current, anchored: false }
}

#[test]
fn namespaces_get_the_actions_they_need() {
    let swapped = ["new", "old", "fine", "other"].map(str::to_owned).into();
    let secrets = [
        ("old", existing(true, false)),
        ("fine", existing(true, true)),
        ("other", existing(false, false)),
        ("left", existing(true, true)),
        ("unrelated", existing(false, false)),
    ];
    let secrets = secrets.map(|(name, it)| (name.to_owned(), it)).into();
    let named = ["new", "old", "fine", "other"].map(str::to_owned).into();
    let none = BTreeSet::new();
    let actions: Vec<_> = plan(true, &swapped, &named, &secrets).into_iter().collect();
    assert_eq!(
        actions,
        [
            ("left".to_owned(), PullSecretAction::Delete),
            ("new".to_owned(), PullSecretAction::Create),
            ("old".to_owned(), PullSecretAction::Update),
            ("other".to_owned(), PullSecretAction::Foreign),
        ]
    );
    let ended = plan(true, &swapped, &none, &secrets);
    assert!(!ended.contains_key("new") && ended["old"] == PullSecretAction::Update);
    let without = plan(false, &swapped, &none, &secrets).into_iter().map(|it| it.1);
    assert_eq!(without.collect::<Vec<_>>(), [PullSecretAction::Delete; 3]);
}

#[test]
fn secret_of_a_living_pod_is_kept() {
    let anchored = PullSecretState { managed: true, current: false, anchored: true };
    let secrets: BTreeMap<String, PullSecretState> =
        [("kept", existing(true, true)), ("old", anchored.clone()), ("free", anchored)]
            .map(|(name, it)| (name.to_owned(), it))
            .into();
    let named = ["kept", "old"].map(str::to_owned).into();
    for wanted in [false, true] {
        let actions: Vec<_> =
            plan(wanted, &BTreeSet::new(), &named, &secrets).into_iter().collect();
        let expected = [
            ("free".to_owned(), PullSecretAction::Delete),
            ("old".to_owned(), PullSecretAction::Release),
        ];
        assert_eq!(actions, expected);
    }
}

proptest! {
    /// Asserts that a Secret without the release's label is never written, and that an applied
    /// plan leaves no further action.
    #[test]
    fn plans_converge_and_skip_foreign_secrets(
        wanted: bool,
        swapped in prop::collection::btree_set("[a-e]", 0..5),
        named in prop::collection::btree_set("[a-e]", 0..5),
        before in prop::collection::btree_map("[a-e]", any::<(bool, bool, bool)>(), 0..5),
    ) {
        let of = |(managed, current, anchored): (bool, bool, bool)| PullSecretState {
            managed,
            current: current && !anchored,
            anchored,
        };
        let mut secrets: BTreeMap<_, _> =
            before.into_iter().map(|(name, it)| (name, of(it))).collect();
        for (namespace, action) in plan(wanted, &swapped, &named, &secrets) {
            let managed = secrets.get(&namespace).is_none_or(|it| it.managed);
            prop_assert_eq!(managed, action != PullSecretAction::Foreign);
            match action {
                PullSecretAction::Create | PullSecretAction::Update => {
                    secrets.insert(namespace, existing(true, true));
                }
                PullSecretAction::Delete => {
                    prop_assert!(!named.contains(&namespace));
                    secrets.remove(&namespace);
                }
                PullSecretAction::Release => {
                    secrets.insert(namespace, existing(true, false));
                }
                PullSecretAction::Foreign => {}
            }
        }
        let left = plan(wanted, &swapped, &named, &secrets);
        prop_assert!(left.values().all(|it| *it == PullSecretAction::Foreign), "{:?}", left);
    }
}
