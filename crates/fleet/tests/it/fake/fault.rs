//! Faults of a stand-in.

/// Text in the body of every fault, which no output may quote.
pub(crate) const SECRET: &str = "text-of-a-hostile-body";

/// Fault of a stand-in.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// No answer.
    Silent,
    /// Headers, and half of a body.
    SilentBody,
    /// The connection ends without an answer.
    Reset,
    /// The connection ends within the body.
    Cut,
    /// JSON of another form.
    Garbage,
    /// No HTTP.
    NoHttp,
    /// JSON without an end.
    Endless,
    /// Headers without an end.
    EndlessHeaders,
    /// An object of ten megabytes.
    Large,
    /// An object and an event with hundreds of thousands of managers.
    ManyEntries,
    /// An object and an event with a version of half a mebibyte.
    LongVersion,
    /// This status, with headers.
    Status(u16, String),
}

impl Fault {
    /// Returns a redirect to `url`.
    pub(crate) fn redirect(url: &str) -> Self {
        Self::Status(307, format!("Location: {url}/api/v1/namespaces/kube-system\r\n"))
    }
}
