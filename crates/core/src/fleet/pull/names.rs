//! Names of the objects of a cluster that pulls.

/// Suffix of the Secret with the declaration, after the name of the cluster.
pub const DECLARATION: &str = ".declaration";
/// Suffix of the Lease, after the name of the cluster.
const HEARTBEAT: &str = ".heartbeat";
/// Prefix of the service account and its Role, before the name of the cluster.
const ACCOUNT: &str = "image-swap-pull-";
/// Suffix of the fleet controller's Role, after the name of the cluster. No name of a cluster has a
/// dot, so that the Role is never that of another cluster.
const FLEET: &str = ".fleet";
/// Bytes of the longest name of a cluster.
const LONGEST: usize = 63;

/// Names of the objects of a cluster that pulls, on the management cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullNames {
    /// Namespace of the objects.
    pub namespace: String,
    /// Name of the cluster.
    pub cluster: String,
}

/// Name of a cluster that is no DNS label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected at most 63 lower-case letters, digits and hyphens, with a letter or digit at each end"
)]
pub struct InvalidClusterName;

impl PullNames {
    /// Returns the names for the cluster `cluster` in `namespace`.
    ///
    /// # Errors
    /// [`InvalidClusterName`] for a name of a cluster that is no DNS label.
    ///
    /// ```
    /// use image_swap_core::fleet::pull::PullNames;
    ///
    /// let names = PullNames::new("clusters", "edge-1")?;
    /// assert_eq!(names.secret(), "edge-1.declaration");
    /// assert_eq!(names.account(), "image-swap-pull-edge-1");
    /// # Ok::<(), image_swap_core::fleet::pull::InvalidClusterName>(())
    /// ```
    pub fn new(namespace: &str, cluster: &str) -> Result<Self, InvalidClusterName> {
        let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = cluster.as_bytes();
        let is_label = (1..=LONGEST).contains(&bytes.len())
            && bytes.iter().all(|byte| is_end(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| is_end(*byte))
            && bytes.last().is_some_and(|byte| is_end(*byte));
        if !is_label {
            return Err(InvalidClusterName);
        }
        Ok(Self { namespace: namespace.to_owned(), cluster: cluster.to_owned() })
    }

    /// Returns the names for the cluster whose declaration is in the Secret `secret`; `None` for
    /// another Secret.
    pub fn of_secret(namespace: &str, secret: &str) -> Option<Self> {
        Self::new(namespace, secret.strip_suffix(DECLARATION)?).ok()
    }

    /// Returns the name of the Secret with the declaration.
    pub fn secret(&self) -> String {
        format!("{}{DECLARATION}", self.cluster)
    }

    /// Returns the name of the Lease that the cluster renews.
    pub fn lease(&self) -> String {
        format!("{}{HEARTBEAT}", self.cluster)
    }

    /// Returns the name of the cluster's service account, of its Role and of the binding.
    pub fn account(&self) -> String {
        format!("{ACCOUNT}{}", self.cluster)
    }

    /// Returns the name of the fleet controller's Role for the cluster, and of the binding.
    pub fn fleet_role(&self) -> String {
        format!("{ACCOUNT}{}{FLEET}", self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::fleet::pull::{Enrolment, FleetAccount};

    #[test]
    fn names_are_dns_labels() {
        for name in ["", "A", "a.b", "-a", "a-", "a/b", &"a".repeat(64)] {
            assert_eq!(PullNames::new("n", name), Err(InvalidClusterName), "{name}");
        }
        let names = PullNames::new("n", "a-1").unwrap();
        assert_eq!(PullNames::of_secret("n", &names.secret()), Some(names.clone()));
        assert_eq!(PullNames::of_secret("n", "a-1"), None);
        assert_eq!(PullNames::of_secret("n", ".declaration"), None);
        assert_eq!(
            (&*names.lease(), &*names.fleet_role()),
            ("a-1.heartbeat", "image-swap-pull-a-1.fleet")
        );
    }

    /// Returns a cluster and one whose name continues the other one.
    fn related() -> impl Strategy<Value = (String, String)> {
        let suffix =
            prop::sample::select(vec!["", "-fleet", "-declaration", "-heartbeat", "-pull"]);
        ("[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", suffix, "[a-z0-9]{0,2}")
            .prop_map(|(name, suffix, end)| (name.clone(), format!("{name}{suffix}{end}")))
    }

    proptest! {
        #[test]
        fn two_clusters_share_no_object((one, other) in related()) {
            prop_assume!(one != other);
            let objects = |cluster: &str| {
                let fleet = FleetAccount { namespace: "f".into(), name: "image-swap-fleet".into() };
                let names = PullNames::new("n", cluster).unwrap();
                let all = Enrolment { names, fleet }.objects();
                all.iter().map(ToString::to_string).collect::<BTreeSet<_>>()
            };
            let (one, other) = (objects(&one), objects(&other));
            prop_assert!(one.is_disjoint(&other), "{one:?} {other:?}");
        }
    }
}
