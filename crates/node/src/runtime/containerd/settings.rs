//! TLS settings and headers of one registry host, as `hosts.toml` and `config.toml` hold them.

use std::collections::BTreeMap;

use image_swap_text::toml::{EditError, Item, TableLike, Toml, Value, string};

use crate::files::HostPath;

/// TLS settings and headers of one registry host.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct HostSettings {
    /// Files with certificates of authorities.
    pub(super) ca: Vec<HostPath>,
    /// Client certificates, each with its key unless one file holds both.
    pub(super) client: Vec<(HostPath, Option<HostPath>)>,
    /// True if the certificate of the host is not verified.
    pub(super) skip_verify: bool,
    /// The values of each header, by its name.
    pub(super) headers: BTreeMap<String, Vec<String>>,
    /// The time for a connection, such as `5s`.
    dial_timeout: Option<String>,
}

impl HostSettings {
    /// Reads the settings in `table` of the `hosts.toml` in `directory`.
    ///
    /// Source: containerd, `core/remotes/docker/config/hosts.go`, `parseHostConfig`.
    pub(super) fn of(table: &dyn TableLike, directory: &HostPath) -> Self {
        let path = |text: &str| match text.strip_prefix('/') {
            Some(_) => HostPath::new(text),
            None => directory.join(text),
        };
        let pair = |texts: Vec<&str>| {
            let mut texts = texts.into_iter().filter(|text| !text.is_empty());
            Some((path(texts.next()?), texts.next().map(path)))
        };
        let clients = table.get("client").map(pairs).unwrap_or_default();
        let headers = table.get("header").and_then(Item::as_table_like);
        let header = |(name, item): (&str, &Item)| {
            let values = texts(item).into_iter().map(str::to_owned).collect();
            (name.to_owned(), values)
        };
        Self {
            ca: table.get("ca").map(texts).unwrap_or_default().into_iter().map(path).collect(),
            client: clients.into_iter().filter_map(pair).collect(),
            skip_verify: table.get("skip_verify").and_then(Item::as_bool) == Some(true),
            headers: headers.into_iter().flat_map(TableLike::iter).map(header).collect(),
            dial_timeout: table.get("dial_timeout").and_then(Item::as_str).map(str::to_owned),
        }
    }

    /// Reads the `tls` table at `path` of a `config.toml`.
    pub(super) fn of_tls(toml: &Toml<'_>, path: &[String]) -> Self {
        let keys = |key| path.iter().map(String::as_str).chain([key]).collect::<Vec<&str>>();
        let file = |key| toml.str(&keys(key)).filter(|file| !file.is_empty()).map(HostPath::new);
        let skip_verify = toml.get(&keys("insecure_skip_verify")).and_then(Item::as_bool);
        Self {
            ca: file("ca_file").into_iter().collect(),
            client: file("cert_file").map(|cert| (cert, file("key_file"))).into_iter().collect(),
            skip_verify: skip_verify == Some(true),
            ..Self::default()
        }
    }

    /// Returns true if containerd would do the same without these settings.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the certificates and keys to which the settings refer.
    pub(super) fn files(&self) -> impl Iterator<Item = &HostPath> {
        let clients = self.client.iter().flat_map(|(cert, key)| [Some(cert), key.as_ref()]);
        self.ca.iter().chain(clients.flatten())
    }

    /// Returns `text`, a `hosts.toml`, with these settings in the table at `path`.
    pub(super) fn put(&self, text: &str, path: &[&str]) -> Result<String, EditError> {
        let mut text = text.to_owned();
        let mut set = |keys: &[&str], value: &str| -> Result<(), EditError> {
            // An unreadable text is left as it is: containerd would refuse it anyway.
            let Ok(toml) = Toml::parse(&text) else { return Ok(()) };
            text = toml.set(&[path, keys].concat(), value, &[])?;
            Ok(())
        };
        if let Some(timeout) = &self.dial_timeout {
            set(&["dial_timeout"], &string(timeout))?;
        }
        if self.skip_verify {
            set(&["skip_verify"], "true")?;
        }
        if !self.client.is_empty() {
            let pairs = self.client.iter().map(|(cert, key)| match key {
                Some(key) => list([cert.as_str(), key.as_str()]),
                None => string(cert.as_str()),
            });
            set(&["client"], &format!("[{}]", pairs.collect::<Vec<_>>().join(", ")))?;
        }
        if !self.ca.is_empty() {
            set(&["ca"], &list(self.ca.iter().map(HostPath::as_str)))?;
        }
        for (name, values) in &self.headers {
            let value = match &values[..] {
                [one] => string(one),
                values => list(values.iter().map(String::as_str)),
            };
            set(&["header", name], &value)?;
        }
        Ok(text)
    }
}

/// Returns `texts` as an array of TOML.
fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(string).collect();
    format!("[{}]", texts.join(", "))
}

/// Returns a text, or the texts of an array.
fn texts(item: &Item) -> Vec<&str> {
    match (item.as_str(), item.as_array()) {
        (Some(text), _) => vec![text],
        (None, Some(array)) => array.iter().filter_map(Value::as_str).collect(),
        (None, None) => Vec::new(),
    }
}

/// Returns the client certificates of `client`: `"FILE"`, `["FILE"]` or `[["CERT", "KEY"]]`.
fn pairs(item: &Item) -> Vec<Vec<&str>> {
    let Some(array) = item.as_array() else {
        return texts(item).into_iter().map(|text| vec![text]).collect();
    };
    let files = array.iter().map(|value| match value.as_array() {
        Some(files) => files.iter().filter_map(Value::as_str).collect(),
        None => value.as_str().into_iter().collect(),
    });
    files.collect()
}
