use proptest::prelude::*;

use super::*;

const NOW: UnixTime = 1_700_000_000;

/// A model of a cluster: stored and registered objects, and their versions that API servers and
/// replicas have read so far.
#[derive(Default)]
struct ModelCluster {
    now: UnixTime,
    made: u32,
    authority: Option<Authority>,
    leaf: Option<Leaf>,
    published: Published,
    /// Registrations with their times: a reader may have read any of the recent ones.
    bundles: Vec<(UnixTime, Vec<AuthorityId>)>,
    leaves: Vec<(UnixTime, Leaf)>,
}

/// Maximal delay of a reader, in seconds.
const LAG: UnixTime = SETTLE - 1;

impl ModelCluster {
    fn new() -> Self {
        Self { now: NOW, ..Self::default() }
    }

    fn step(&mut self) -> Option<RotationStep> {
        let step = next(self.now, self.authority.as_ref(), self.leaf.as_ref(), &self.published)?;
        match step {
            RotationStep::NewAuthority => {
                self.made += 1;
                let old = self.authority.take().filter(|it| it.validity.holds(self.now));
                self.authority = Some(Authority {
                    id: format!("ca-{}", self.made),
                    validity: Validity::of(self.now, AUTHORITY_LIFE),
                    previous: old.map(|it| it.id),
                });
            }
            RotationStep::NewLeaf => {
                let leaf = Leaf {
                    issuer: self.authority.as_ref().unwrap().id.clone(),
                    validity: Validity::of(self.now, LEAF_LIFE),
                    fits: true,
                };
                self.leaves.push((self.now, leaf.clone()));
                self.leaf = Some(leaf);
            }
            RotationStep::ForgetPrevious => self.authority.as_mut().unwrap().previous = None,
        }
        Some(step)
    }

    fn publish(&mut self) {
        let ids = trusted(self.authority.as_ref(), self.leaf.as_ref());
        if ids != self.published.ids {
            self.bundles.push((self.now, ids.clone()));
            self.published = Published { ids, since: self.now };
        }
    }

    /// Returns every version that a reader may still have: the last one, and those that were
    /// replaced at most [`LAG`] seconds ago.
    fn readable<T>(history: &[(UnixTime, T)], now: UnixTime) -> impl Iterator<Item = &T> {
        let ends = history.iter().skip(1).map(|(at, _)| *at).chain([UnixTime::MAX]);
        history
            .iter()
            .zip(ends)
            .filter(move |(_, end)| end.saturating_add(LAG) >= now)
            .map(|((_, it), _)| it)
    }

    fn handshakes_hold(&self) -> bool {
        Self::readable(&self.bundles, self.now).all(|bundle| {
            Self::readable(&self.leaves, self.now)
                .all(|leaf| bundle.contains(&leaf.issuer) && leaf.validity.holds(self.now))
        })
    }

    fn settle(&mut self) {
        while self.step().is_some() {}
        self.publish();
    }
}

#[test]
fn first_leaf_is_made_before_registration() {
    let mut world = ModelCluster::new();
    assert_eq!(world.step(), Some(RotationStep::NewAuthority));
    assert_eq!(world.step(), Some(RotationStep::NewLeaf));
    assert_eq!(world.step(), None);
}

// guarantee: 4e
#[test]
fn rotation_publishes_both_then_switches_then_drops() {
    let mut world = ModelCluster::new();
    world.settle();
    world.now = world.authority.as_ref().unwrap().validity.due();
    // The leaf has been renewed in between.
    let valid = Validity::of(world.now, LEAF_LIFE);
    world.leaf.as_mut().unwrap().validity = valid;
    assert_eq!(world.step(), Some(RotationStep::NewAuthority));
    assert_eq!(world.step(), None, "not before it is published");
    world.publish();
    assert_eq!(world.published.ids, ["ca-2", "ca-1"]);
    assert_eq!(world.step(), None, "not before every API server knows");
    world.now += SETTLE;
    assert_eq!(world.step(), Some(RotationStep::NewLeaf));
    world.publish();
    assert_eq!(world.published.ids, ["ca-2", "ca-1"]);
    assert_eq!(world.step(), None, "not before every replica serves it");
    world.now += SETTLE;
    assert_eq!(world.step(), Some(RotationStep::ForgetPrevious));
    world.publish();
    assert_eq!(world.published.ids, ["ca-2"]);
    assert_eq!(world.step(), None);
}

#[test]
fn rotation_begins_with_a_fresh_leaf() {
    let mut world = ModelCluster::new();
    world.settle();
    world.now = world.authority.as_ref().unwrap().validity.due();
    world.leaf.as_mut().unwrap().validity = Validity::of(world.now - LEAF_LIFE / 2, LEAF_LIFE);
    assert_eq!(world.step(), Some(RotationStep::NewLeaf));
    assert_eq!(world.leaf.as_ref().unwrap().issuer, "ca-1");
    assert_eq!(world.step(), Some(RotationStep::NewAuthority));
}

// guarantee: 4e
#[test]
fn leaf_is_renewed_after_two_thirds_of_life() {
    let mut world = ModelCluster::new();
    world.settle();
    world.now = NOW + LEAF_LIFE / 3 * 2 - BACKDATE;
    assert_eq!(world.step(), None);
    world.now += BACKDATE;
    assert_eq!(world.step(), Some(RotationStep::NewLeaf));
}

// guarantee: 4e
#[test]
fn expired_or_unfit_certificates_are_replaced_at_once() {
    let mut world = ModelCluster::new();
    world.settle();
    world.leaf.as_mut().unwrap().fits = false;
    assert_eq!(world.step(), Some(RotationStep::NewLeaf));
    world.now += AUTHORITY_LIFE;
    assert_eq!(world.step(), Some(RotationStep::NewAuthority));
    assert_eq!(world.authority.as_ref().unwrap().previous, None);
    assert_eq!(world.step(), Some(RotationStep::NewLeaf));
}

// guarantee: 4e
#[test]
fn deleted_authority_stays_trusted_for_its_leaf() {
    let mut world = ModelCluster::new();
    world.settle();
    world.authority = None;
    assert_eq!(world.step(), Some(RotationStep::NewAuthority));
    world.publish();
    assert_eq!(world.published.ids, ["ca-2", "ca-1"]);
    assert!(world.handshakes_hold());
}

#[test]
fn foreign_authority_is_published_with_the_last_one() {
    let published = Published { ids: vec!["old".into()], since: NOW };
    let wanted = ["new".to_owned()];
    assert_eq!(trusted_while_changing(&wanted, &published, NOW, NOW), ["new", "old"]);
    assert_eq!(trusted_while_changing(&wanted, &published, NOW, NOW + SETTLE), ["new"]);
}

proptest! {
    /// Simulates more than a year. The controller runs at random times, but often enough, and
    /// crashes between any two writes. It returns within two minutes, without its memory of the
    /// time of publication.
    // guarantee: 4e
    #[test]
    fn handshakes_never_fail(
        turns in prop::collection::vec((1_u64..4 * DAY, any::<bool>(), any::<bool>(), any::<bool>()), 200..400)
    ) {
        let mut world = ModelCluster::new();
        world.settle();
        for (pause, quick, dies, forgets) in turns {
            let short = pause % 120;
            world.now += if quick { short } else { pause };
            prop_assert!(world.handshakes_hold(), "after a pause");
            if forgets {
                world.published.since = world.now;
            }
            world.step();
            prop_assert!(world.handshakes_hold(), "after a step");
            if dies {
                world.now += short;
                world.published.since = world.now;
                prop_assert!(world.handshakes_hold(), "between two runs");
                world.step();
                prop_assert!(world.handshakes_hold(), "after the next one's step");
            }
            world.publish();
            prop_assert!(world.handshakes_hold(), "after it was published");
            if dies || forgets {
                // The interrupted controller starts again.
                world.now += SETTLE;
                world.step();
                world.publish();
                prop_assert!(world.handshakes_hold(), "after a second look");
            }
        }
    }
}

#[test]
fn leaf_expires_with_its_issuer() {
    let leaf = Validity { not_before: 100, not_after: 900 };
    let shorter = Validity { not_before: 200, not_after: 500 };
    assert_eq!(leaf.within(shorter), shorter);
    assert_eq!(shorter.within(leaf), shorter);
    assert!(!leaf.within(Validity { not_before: 0, not_after: 50 }).holds(100));
}
