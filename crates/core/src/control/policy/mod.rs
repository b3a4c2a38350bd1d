//! The `failurePolicy` for ordinary pods: it decides if the API server rejects a pod that no
//! replica could review.
//!
//! `Fail` is dangerous if an API server cannot reach the replicas. So the gate sets it only
//! after every API server has reached a replica. It lowers the policy if one of them keeps
//! failing although replicas are ready.
//!
//! While no replica is ready the policy stays. Pods then wait for a replica, since an
//! unreviewed pod keeps its wrong image for life.
//!
//! Each API server is judged separately. Behind a shared address (a load balancer, the Service
//! `kubernetes`) several may answer in turn. One of them that fails then shows as failures that
//! recur among successes. A single success therefore does not end a series of failures; only
//! many in a row do.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// The policy that operators configure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestedPolicy {
    /// `Fail` as soon as it is safe.
    #[default]
    #[serde(rename = "fail")]
    Fail,
    /// `Ignore`, permanently.
    #[serde(rename = "ignore")]
    Ignore,
    /// `Ignore`; swaps are only reported.
    #[serde(rename = "audit")]
    Audit,
}

/// The `failurePolicy` of the entry for ordinary pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailurePolicy {
    /// Pods are admitted without a review.
    #[default]
    #[serde(rename = "Ignore")]
    Ignore,
    /// Pods are rejected without a review.
    #[serde(rename = "Fail")]
    Fail,
}

impl FailurePolicy {
    /// Returns the name that Kubernetes uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
        }
    }
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The API server called a replica, and accepted its response.
    Reached,
    /// The API server could not call a replica, although replicas are ready.
    Unreached,
    /// The API server could not call a replica, and none is ready.
    NoEndpoints,
    /// The API server answered without a call of a replica. It has not yet read the
    /// registration, or rejected the probe before the webhooks.
    Unknown,
    /// The API server did not answer.
    Silent,
}

/// An API server by the address at which it is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiServer {
    /// The address that every client in the cluster uses. Several API servers may
    /// answer there in turn.
    Shared,
    /// One API server at its own address.
    At(SocketAddr),
}

/// The urgency of the next probe of an API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbePace {
    /// `Fail` may be earned at any moment.
    Soon,
    /// Failures were seen; more evidence is needed.
    Often,
    /// No change is expected.
    Steady,
}

/// Time for which probes have to fail before `Fail` is lowered.
///
/// Failures of lost nodes must not be enough. Endpoints contain replicas of a lost node until
/// Kubernetes detects the loss, after most of a minute. In a cold start all nodes count as
/// lost.
pub const LOWER_AFTER: Duration = Duration::from_secs(80);
/// The number of failures without which `Fail` is never lowered.
pub const FAILURES_TO_LOWER: u32 = 3;
/// The number of successes in a row before `Fail` is set again, so that a flapping
/// network does not flap the policy.
pub const RAISE_AGAIN_AFTER: u32 = 3;
/// The number of successes in a row that end a series in which failures recurred among
/// successes. If one of three API servers fails, so many occur by chance in one of two
/// hundred thousand attempts.
pub const CLEARED_AFTER: u32 = 30;
/// Maximal number of failures in a row that a new endpoint may cause. API servers and
/// kube-proxy read it after the client that lists `EndpointSlice`s.
const NEW_ENDPOINT: u32 = 30;
/// The smallest share of failures in a series that lowers `Fail` is one in this many.
const SHARE: u32 = 10;

/// The decision about the policy, and the evidence for it. Times are measured from any
/// fixed moment, by a clock that never goes back.
#[derive(Clone, Debug)]
pub struct FailurePolicyGate {
    policy: FailurePolicy,
    lower_after: Duration,
    was_lowered: bool,
    servers: BTreeMap<ApiServer, Reachability>,
}

/// The probes of one API server.
#[derive(Clone, Copy, Debug, Default)]
struct Reachability {
    last: Option<Probe>,
    /// Successes since the last failure.
    successes: u32,
    /// Failures since the last success.
    failures: u32,
    series: Option<FailureSeries>,
}

/// Failures that belong together.
#[derive(Clone, Copy, Debug, Default)]
struct FailureSeries {
    probes: u32,
    failures: u32,
    /// The time from the first failure's beginning to the last one's end. A long gap
    /// without failures counts in part.
    lasted: Duration,
    /// The end of the last failure.
    until: Option<Duration>,
    /// True if failures recurred after a success.
    is_mixed: bool,
}

impl FailurePolicyGate {
    /// Returns a gate with the registered policy, so that a controller that restarts lowers
    /// nothing. At first it judges only [`ApiServer::Shared`].
    pub fn begin(registered: FailurePolicy, lower_after: Duration) -> Self {
        let servers = BTreeMap::from([(ApiServer::Shared, Reachability::default())]);
        Self { policy: registered, lower_after, was_lowered: false, servers }
    }

    /// Returns the policy to register for the policy that operators configure.
    pub fn policy(&self, wanted: RequestedPolicy) -> FailurePolicy {
        if wanted == RequestedPolicy::Fail { self.policy } else { FailurePolicy::Ignore }
    }

    /// Returns the API servers that are judged.
    pub fn servers(&self) -> impl Iterator<Item = ApiServer> + '_ {
        self.servers.keys().copied()
    }

    /// Judges the API servers at `addresses` in addition to the shared address. A single
    /// address equals the shared one and is skipped. Returns the new policy if it changed.
    pub fn set_servers(&mut self, addresses: &[SocketAddr]) -> Option<FailurePolicy> {
        let own = if addresses.len() > 1 { addresses } else { &[] };
        let is_current = |server: &ApiServer| match server {
            ApiServer::Shared => true,
            ApiServer::At(address) => own.contains(address),
        };
        self.servers.retain(|server, _| is_current(server));
        for address in own {
            self.servers.entry(ApiServer::At(*address)).or_default();
        }
        self.decide()
    }

    /// Notes the result of a probe of `server` that took from `began` to `ended`. Returns
    /// the new policy if it changed.
    pub fn observe(
        &mut self,
        server: ApiServer,
        probe: Probe,
        began: Duration,
        ended: Duration,
    ) -> Option<FailurePolicy> {
        let longest_gap = self.lower_after / 2;
        self.servers.get_mut(&server)?.note(probe, began, ended, longest_gap);
        self.decide()
    }

    /// Returns the urgency of the next probe of `server`.
    pub fn pace(&self, server: ApiServer) -> ProbePace {
        let Some(found) = self.servers.get(&server) else { return ProbePace::Steady };
        let is_lowered = self.policy == FailurePolicy::Ignore;
        match found.last {
            None | Some(Probe::Unknown | Probe::NoEndpoints) if is_lowered => ProbePace::Soon,
            Some(Probe::Unreached) if is_lowered && found.failures <= NEW_ENDPOINT => {
                ProbePace::Soon
            }
            Some(Probe::Silent) if is_lowered && server == ApiServer::Shared => ProbePace::Soon,
            _ if found.series.is_some() && (!is_lowered || found.failures == 0) => ProbePace::Often,
            _ => ProbePace::Steady,
        }
    }

    /// Returns the result that describes all API servers: the worst one.
    pub fn summary(&self) -> Probe {
        let any = |probe| self.servers.values().any(|it| it.last == Some(probe));
        if self.servers.values().any(Reachability::is_suspect) {
            Probe::Unreached
        } else if any(Probe::NoEndpoints) {
            Probe::NoEndpoints
        } else if any(Probe::Reached) {
            Probe::Reached
        } else {
            Probe::Unknown
        }
    }

    /// Returns the number of failures of the API server that fails most: since its last
    /// success, or in a series in which they recur.
    pub fn failures(&self) -> u32 {
        self.servers.values().map(Reachability::failures).max().unwrap_or(0)
    }

    /// Returns the addresses of the API servers that do not reach a replica, as far as
    /// they are known.
    pub fn unreached(&self) -> Vec<SocketAddr> {
        let suspect = |(server, found): (&ApiServer, &Reachability)| match server {
            ApiServer::At(address) if found.is_suspect() => Some(*address),
            _ => None,
        };
        self.servers.iter().filter_map(suspect).collect()
    }

    fn decide(&mut self) -> Option<FailurePolicy> {
        match self.policy {
            FailurePolicy::Fail
                if self.servers.values().any(|it| it.is_failing(self.lower_after)) =>
            {
                self.policy = FailurePolicy::Ignore;
                self.was_lowered = true;
            }
            FailurePolicy::Ignore if self.is_earned() => {
                self.policy = FailurePolicy::Fail;
                for server in self.servers.values_mut() {
                    server.series = None;
                }
            }
            _ => return None,
        }
        Some(self.policy)
    }

    /// Returns true if every API server that answers reaches a replica.
    fn is_earned(&self) -> bool {
        let mut answering =
            self.servers.values().filter(|it| it.last != Some(Probe::Silent)).peekable();
        answering.peek().is_some() && answering.all(|it| it.is_reached(self.was_lowered))
    }
}

impl Reachability {
    fn note(&mut self, probe: Probe, began: Duration, ended: Duration, longest_gap: Duration) {
        self.last = Some(probe);
        match probe {
            Probe::Reached => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                if let Some(series) = &mut self.series {
                    series.probes = series.probes.saturating_add(1);
                }
                if self.successes >= CLEARED_AFTER {
                    self.series = None;
                }
            }
            Probe::Unreached => {
                let is_recurring = self.successes > 0;
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                let series = self.series.get_or_insert_default();
                series.is_mixed |= is_recurring && series.failures > 0;
                series.probes = series.probes.saturating_add(1);
                series.failures = series.failures.saturating_add(1);
                series.lasted += match series.until {
                    None => ended.saturating_sub(began),
                    Some(until) => ended.saturating_sub(until).min(longest_gap),
                };
                series.until = Some(ended);
            }
            // A pod that waits for a replica is not a reason to lower the policy.
            Probe::NoEndpoints => *self = Self { last: self.last, ..Self::default() },
            Probe::Unknown | Probe::Silent => {}
        }
    }

    fn is_failing(&self, lower_after: Duration) -> bool {
        self.failures > 0
            && self.series.is_some_and(|series| {
                series.lasted >= lower_after
                    && series.failures >= FAILURES_TO_LOWER
                    && series.failures.saturating_mul(SHARE) >= series.probes
            })
    }

    fn is_reached(&self, was_lowered: bool) -> bool {
        let needed = match self.series {
            _ if !was_lowered => 1,
            Some(FailureSeries { is_mixed: true, .. }) => CLEARED_AFTER,
            _ => RAISE_AGAIN_AFTER,
        };
        self.last == Some(Probe::Reached) && self.successes >= needed
    }

    /// Returns true if the last probe failed, or failures recur.
    fn is_suspect(&self) -> bool {
        let recur = self.series.is_some_and(|series| series.is_mixed);
        recur || (self.failures > 0 && self.last == Some(Probe::Unreached))
    }

    fn failures(&self) -> u32 {
        match self.series {
            Some(series) if series.is_mixed => series.failures,
            _ => self.failures,
        }
    }
}

#[cfg(test)]
mod tests;
