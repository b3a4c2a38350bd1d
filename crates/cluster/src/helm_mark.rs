//! Helm's mark: a `ConfigMap` that exists while the chart's hooks run.

/// The mark as this process has seen it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HelmMark {
    /// True once the API server has returned the first state.
    pub(crate) is_read: bool,
    /// UID of the mark at the first look; `None` without one.
    pub(crate) first: Option<String>,
    /// UID of the mark; `None` if it is absent.
    present: Option<String>,
    /// UID of the last mark that a watch showed, deleted or not; `None` if none was.
    pub(crate) last: Option<String>,
}

impl HelmMark {
    /// Records the state of the mark: its UID, `None` if it is absent.
    pub(crate) fn note(&mut self, uid: Option<String>) {
        if !std::mem::replace(&mut self.is_read, true) {
            self.first.clone_from(&uid);
        }
        if uid.is_some() {
            self.last.clone_from(&uid);
        }
        self.present = uid;
    }

    /// Returns true while a mark exists that was absent at the first look: hooks run. An older
    /// one may be an ordinary object, made by `helm template | kubectl apply`.
    pub(crate) fn is_new(&self) -> bool {
        self.present.is_some() && self.present != self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_of_the_first_look_is_not_new() {
        let mut mark = HelmMark::default();
        mark.note(Some("1".into()));
        assert!(mark.is_read && !mark.is_new());
        // A relist shows it again.
        mark.note(Some("1".into()));
        assert!(!mark.is_new());
        mark.note(None);
        mark.note(Some("2".into()));
        assert!(mark.is_new());
        assert_eq!((mark.first.as_deref(), mark.last.as_deref()), (Some("1"), Some("2")));
    }

    #[test]
    fn deleted_mark_is_remembered_but_not_new() {
        let mut mark = HelmMark::default();
        mark.note(None);
        assert!(mark.is_read && !mark.is_new());
        mark.note(Some("1".into()));
        assert!(mark.is_new());
        mark.note(None);
        assert!(!mark.is_new());
        assert_eq!(mark.last.as_deref(), Some("1"));
    }
}
