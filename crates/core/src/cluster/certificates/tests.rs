use proptest::prelude::*;

use super::*;

const NOW: UnixTime = 1_700_000_000;

/// A cluster: what is stored, what is registered, and what API servers and
/// replicas have read so far.
#[derive(Default)]
struct World {
    now: UnixTime,
    made: u32,
    authority: Option<Authority>,
    leaf: Option<Leaf>,
    published: Published,
    /// Every state of the last seconds: a reader may be at any of them.
    bundles: Vec<(UnixTime, Vec<AuthorityId>)>,
    leaves: Vec<(UnixTime, Leaf)>,
}

/// How long readers lag at most.
const LAG: UnixTime = SETTLE - 1;

impl World {
    fn new() -> Self {
        Self { now: NOW, ..Self::default() }
    }

    fn step(&mut self) -> Option<Step> {
        let step = next(self.now, self.authority.as_ref(), self.leaf.as_ref(), &self.published)?;
        match step {
            Step::NewAuthority => {
                self.made += 1;
                let old = self.authority.take().filter(|it| it.validity.holds(self.now));
                self.authority = Some(Authority {
                    id: format!("ca-{}", self.made),
                    validity: Validity::of(self.now, AUTHORITY_LIFE),
                    previous: old.map(|it| it.id),
                });
            }
            Step::NewLeaf => {
                let leaf = Leaf {
                    issuer: self.authority.as_ref().unwrap().id.clone(),
                    validity: Validity::of(self.now, LEAF_LIFE),
                    fits: true,
                };
                self.leaves.push((self.now, leaf.clone()));
                self.leaf = Some(leaf);
            }
            Step::ForgetPrevious => self.authority.as_mut().unwrap().previous = None,
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

    /// Everything that a reader may still be at: the last change, and those that
    /// were replaced no longer than [`LAG`] ago.
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
fn the_first_leaf_is_made_before_anything_is_registered() {
    let mut world = World::new();
    assert_eq!(world.step(), Some(Step::NewAuthority));
    assert_eq!(world.step(), Some(Step::NewLeaf));
    assert_eq!(world.step(), None);
}

#[test]
fn a_rotation_publishes_both_then_switches_then_drops() {
    let mut world = World::new();
    world.settle();
    world.now = world.authority.as_ref().unwrap().validity.due();
    // The leaf was renewed meanwhile.
    let valid = Validity::of(world.now, LEAF_LIFE);
    world.leaf.as_mut().unwrap().validity = valid;
    assert_eq!(world.step(), Some(Step::NewAuthority));
    assert_eq!(world.step(), None, "not before it is published");
    world.publish();
    assert_eq!(world.published.ids, ["ca-2", "ca-1"]);
    assert_eq!(world.step(), None, "not before every API server knows");
    world.now += SETTLE;
    assert_eq!(world.step(), Some(Step::NewLeaf));
    world.publish();
    assert_eq!(world.published.ids, ["ca-2", "ca-1"]);
    assert_eq!(world.step(), None, "not before every replica serves it");
    world.now += SETTLE;
    assert_eq!(world.step(), Some(Step::ForgetPrevious));
    world.publish();
    assert_eq!(world.published.ids, ["ca-2"]);
    assert_eq!(world.step(), None);
}

#[test]
fn a_rotation_begins_with_a_leaf_that_outlives_it() {
    let mut world = World::new();
    world.settle();
    world.now = world.authority.as_ref().unwrap().validity.due();
    world.leaf.as_mut().unwrap().validity = Validity::of(world.now - LEAF_LIFE / 2, LEAF_LIFE);
    assert_eq!(world.step(), Some(Step::NewLeaf));
    assert_eq!(world.leaf.as_ref().unwrap().issuer, "ca-1");
    assert_eq!(world.step(), Some(Step::NewAuthority));
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_of_its_life() {
    let mut world = World::new();
    world.settle();
    world.now = NOW + LEAF_LIFE / 3 * 2 - BACKDATE;
    assert_eq!(world.step(), None);
    world.now += BACKDATE;
    assert_eq!(world.step(), Some(Step::NewLeaf));
}

#[test]
fn what_is_expired_or_unfit_is_replaced_at_once() {
    let mut world = World::new();
    world.settle();
    world.leaf.as_mut().unwrap().fits = false;
    assert_eq!(world.step(), Some(Step::NewLeaf));
    world.now += AUTHORITY_LIFE;
    assert_eq!(world.step(), Some(Step::NewAuthority));
    assert_eq!(world.authority.as_ref().unwrap().previous, None);
    assert_eq!(world.step(), Some(Step::NewLeaf));
}

#[test]
fn an_authority_that_was_deleted_stays_trusted_for_what_it_signed() {
    let mut world = World::new();
    world.settle();
    world.authority = None;
    assert_eq!(world.step(), Some(Step::NewAuthority));
    world.publish();
    assert_eq!(world.published.ids, ["ca-2", "ca-1"]);
    assert!(world.handshakes_hold());
}

#[test]
fn an_authority_of_somebody_else_is_published_beside_the_last_one_for_a_while() {
    let published = Published { ids: vec!["old".into()], since: NOW };
    let wanted = ["new".to_owned()];
    assert_eq!(trusted_while_changing(&wanted, &published, NOW, NOW), ["new", "old"]);
    assert_eq!(trusted_while_changing(&wanted, &published, NOW, NOW + SETTLE), ["new"]);
}

proptest! {
    /// A year and more, with a controller that looks at any times (though often
    /// enough), dies between any two writes and is back within two minutes, without
    /// its memory of since when it saw what is published: no handshake ever fails.
    #[test]
    fn no_handshake_fails(
        turns in prop::collection::vec((1_u64..4 * DAY, any::<bool>(), any::<bool>(), any::<bool>()), 200..400)
    ) {
        let mut world = World::new();
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
                prop_assert!(world.handshakes_hold(), "while nobody looked");
                world.step();
                prop_assert!(world.handshakes_hold(), "after the next one's step");
            }
            world.publish();
            prop_assert!(world.handshakes_hold(), "after it was published");
            if dies || forgets {
                // Whoever began looks again.
                world.now += SETTLE;
                world.step();
                world.publish();
                prop_assert!(world.handshakes_hold(), "after a second look");
            }
        }
    }
}

#[test]
fn a_leaf_is_worth_no_more_than_its_issuer() {
    let leaf = Validity { not_before: 100, not_after: 900 };
    let shorter = Validity { not_before: 200, not_after: 500 };
    assert_eq!(leaf.within(shorter), shorter);
    assert_eq!(shorter.within(leaf), shorter);
    assert!(!leaf.within(Validity { not_before: 0, not_after: 50 }).holds(100));
}
