//! The release, and what its objects are called.

/// A release: the chart's full name, and the namespace it is installed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The namespace.
    pub namespace: String,
    /// The chart's full name.
    pub name: String,
}

impl Release {
    /// The `ClusterRole` that owns everything made at run time.
    pub fn anchor(&self) -> &str {
        &self.name
    }

    /// The rules in force, without credentials: what replicas follow.
    pub fn effective(&self) -> String {
        format!("{}-effective", self.name)
    }

    /// The declaration in force, whole.
    pub fn last_good(&self) -> String {
        format!("{}-last-good", self.name)
    }

    /// Returns the name of the Secret that agents of nodes follow.
    pub fn nodes(&self) -> String {
        format!("{}-nodes", self.name)
    }

    /// The authority and its key.
    pub fn authority(&self) -> String {
        format!("{}-ca", self.name)
    }

    /// The serving certificate.
    pub fn certificate(&self) -> String {
        format!("{}-tls", self.name)
    }

    /// The `ConfigMap` with the controller's view.
    pub fn status(&self) -> String {
        format!("{}-status", self.name)
    }

    /// The `ConfigMap` that is only ever created dry.
    pub fn probe(&self) -> String {
        format!("{}-probe", self.name)
    }

    /// Returns the name of the `ConfigMap` that exists while Helm uninstalls the release.
    pub fn uninstallation(&self) -> String {
        format!("{}-uninstall", self.name)
    }

    /// The controller's Deployment and its Lease.
    pub fn controller(&self) -> String {
        format!("{}-controller", self.name)
    }

    /// The `MutatingWebhookConfiguration`, and the replicas' Deployment.
    pub fn admission(&self) -> String {
        format!("{}-admission", self.name)
    }

    /// The names by which the API server may call `service`.
    pub(crate) fn names(&self, service: &str) -> Vec<String> {
        let namespace = &self.namespace;
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
            service.to_owned(),
        ]
    }
}
