//! The release, and the names of its objects.

/// A release: the chart's full name, and the namespace it is installed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The namespace.
    pub namespace: String,
    /// The chart's full name.
    pub name: String,
}

impl Release {
    /// Returns the name of the `ClusterRole` that owns all objects created at run time.
    pub fn anchor(&self) -> &str {
        &self.name
    }

    /// Returns the name of the Secret with the rules in force, which replicas follow. It contains
    /// no credentials.
    pub fn effective(&self) -> String {
        format!("{}-effective", self.name)
    }

    /// Returns the name of the Secret with the whole declaration in force.
    pub fn last_good(&self) -> String {
        format!("{}-last-good", self.name)
    }

    /// Returns the name of the Secret that agents of nodes follow.
    pub fn nodes(&self) -> String {
        format!("{}-nodes", self.name)
    }

    /// Returns the name of the Secret with the authority and its key.
    pub fn authority(&self) -> String {
        format!("{}-ca", self.name)
    }

    /// Returns the name of the Secret with the serving certificate.
    pub fn certificate(&self) -> String {
        format!("{}-tls", self.name)
    }

    /// Returns the name of the `ConfigMap` with the controller's report.
    pub fn status(&self) -> String {
        format!("{}-status", self.name)
    }

    /// Returns the name of the Lease that the leader renews for the fleet controller of a
    /// management cluster.
    pub fn heartbeat(&self) -> String {
        format!("{}-heartbeat", self.name)
    }

    /// Returns the name of the `ConfigMap` that probes create as a dry run.
    pub fn probe(&self) -> String {
        format!("{}-probe", self.name)
    }

    /// Returns the name of the `ConfigMap` that exists while Helm uninstalls the release.
    pub fn uninstallation(&self) -> String {
        format!("{}-uninstall", self.name)
    }

    /// Returns the name of the controller's Deployment and of its Lease.
    pub fn controller(&self) -> String {
        format!("{}-controller", self.name)
    }

    /// Returns the name of the `MutatingWebhookConfiguration` and of the replicas' Deployment.
    pub fn admission(&self) -> String {
        format!("{}-admission", self.name)
    }

    /// Returns the host names of `service` that a serving certificate must contain.
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
