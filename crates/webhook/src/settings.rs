//! What the operator decides about admission, and may change while we run.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use image_swap_core::admission::Settings;

/// The settings that requests are answered by: a handle, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SettingsInForce(Arc<ArcSwap<Settings>>);

impl SettingsInForce {
    /// Puts `settings` in force.
    pub fn replace(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }

    /// The settings in force.
    pub fn current(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// The same for the time of one answer: it writes nothing that threads share.
    pub(crate) fn now(&self) -> Guard<Arc<Settings>> {
        self.0.load()
    }
}

impl From<Settings> for SettingsInForce {
    fn from(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }
}
