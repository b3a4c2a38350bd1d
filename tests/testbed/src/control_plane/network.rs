//! The addresses of Services.

use crate::port::random;

/// The network of one control plane. It is random, so that the rules of two control planes on a
/// machine do not conflict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceNetwork {
    second: u8,
    third: u8,
}

impl ServiceNetwork {
    /// Picks one of 8,192 networks at random.
    pub(super) fn random() -> Self {
        let [second, third, ..] = random().to_le_bytes();
        Self { second: 96 + second % 32, third }
    }

    /// Returns the network, as `--service-cluster-ip-range` takes it.
    pub(crate) fn prefix(self) -> String {
        format!("{}/24", self.address(0))
    }

    /// Returns the address of the Service `kubernetes`: always the first.
    pub(super) fn api_server(self) -> String {
        self.address(1)
    }

    fn address(self, last: u8) -> String {
        format!("10.{}.{}.{last}", self.second, self.third)
    }
}
