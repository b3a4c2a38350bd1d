//! The chosen cluster and user of a kubeconfig.

use super::{
    access::{RemoteAccess, RemoteCredential, RemoteServer},
    document::{Fields, parse},
    error::{KubeconfigError, KubeconfigProblem},
    pem, server,
};

/// Limit of a kubeconfig in bytes.
pub const KUBECONFIG_MAX: usize = 256 * 1024;
/// Limit of a token in bytes, below the limits of API servers for headers.
const TOKEN_MAX: usize = 64 * 1024;

const INSECURE: &str = "insecure-skip-tls-verify";
const SERVER: &str = "server";
const TLS_NAME: &str = "tls-server-name";
const AUTHORITY: &str = "certificate-authority-data";
const TOKEN: &str = "token";
const CERTIFICATE: &str = "client-certificate-data";
const KEY: &str = "client-key-data";

/// Fields of a cluster that are read or have no effect.
const CLUSTER: [&str; 6] =
    [SERVER, TLS_NAME, AUTHORITY, INSECURE, "disable-compression", "extensions"];
/// Fields of a user that are read or have no effect.
const USER: [&str; 4] = [TOKEN, CERTIFICATE, KEY, "extensions"];
const CONTEXT: [&str; 4] = ["cluster", "user", "namespace", "extensions"];

const PROGRAM: &str =
    "it runs a program on the management cluster; use a token or a client certificate";
const OTHER_USER: &str = "it acts as another user; use the credential of that user";
const BY_PASSWORD: &str =
    "API servers accept no password; use a token, or client-certificate-data and client-key-data";

/// Fields of a cluster that are refused.
const REFUSED_OF_CLUSTER: [(&str, &str); 2] = [
    ("certificate-authority", "it names a file; use certificate-authority-data"),
    ("proxy-url", "the fleet controller connects directly; remove it"),
];
/// Fields of a user that are refused.
const REFUSED_OF_USER: [(&str, &str); 11] = [
    ("exec", PROGRAM),
    ("auth-provider", PROGRAM),
    ("tokenFile", "it names a file; use token"),
    ("client-certificate", "it names a file; use client-certificate-data"),
    ("client-key", "it names a file; use client-key-data"),
    ("as", OTHER_USER),
    ("as-uid", OTHER_USER),
    ("as-groups", OTHER_USER),
    ("as-user-extra", OTHER_USER),
    ("username", BY_PASSWORD),
    ("password", BY_PASSWORD),
];

impl RemoteAccess {
    /// Reads cluster and user of the current context.
    ///
    /// # Errors
    /// Refuses a text that is not a kubeconfig, lacks a part, or contains a field that would run a
    /// program, read a file, skip the check of a certificate or act as another user.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::fleet::kubeconfig::RemoteAccess;
    ///
    /// let text = "
    /// current-context: admin
    /// contexts: [{name: admin, context: {cluster: a, user: admin}}]
    /// clusters: [{name: a, cluster: {server: 'https://a.example.org:6443'}}]
    /// users: [{name: admin, user: {exec: {command: login}}}]
    /// ";
    /// let error = RemoteAccess::parse(text.as_bytes()).unwrap_err();
    /// assert!(error.to_string().starts_with("users[0].user.exec: it runs a program"), "{error}");
    /// let text = text.replace("exec: {command: login}", "token: t0ken");
    /// let access = RemoteAccess::parse(text.as_bytes()).unwrap();
    /// assert_eq!(access.server, "https://a.example.org:6443");
    /// ```
    pub fn parse(kubeconfig: &[u8]) -> Result<Self, KubeconfigError> {
        let text = checked(kubeconfig)?;
        let (tree, root) = parse(text)?;
        let root = Fields::new(&tree, root, String::new())?;
        let context = context(&root, None)?;
        let name = context.required("cluster")?;
        let cluster = root.entry("clusters", name, "cluster", context.path("cluster"))?;
        Ok(server_of(&cluster)?.with(credential_of(&root, &context)?))
    }
}

impl RemoteCredential {
    /// Reads the user of `context`, or without one of the current context. The cluster is skipped.
    ///
    /// # Errors
    /// See [`RemoteAccess::parse`].
    pub fn parse(kubeconfig: &[u8], context: Option<&str>) -> Result<Self, KubeconfigError> {
        let text = checked(kubeconfig)?;
        let (tree, root) = parse(text)?;
        let root = Fields::new(&tree, root, String::new())?;
        credential_of(&root, &self::context(&root, context)?)
    }
}

impl RemoteServer {
    /// Reads `cluster`, the field of that name in a kubeconfig, as JSON. `path` is its path in
    /// errors.
    ///
    /// # Errors
    /// See [`RemoteAccess::parse`].
    pub fn parse(cluster: &str, path: &str) -> Result<Self, KubeconfigError> {
        let (tree, root) = parse(checked(cluster.as_bytes())?)?;
        server_of(&Fields::new(&tree, root, path.to_owned())?)
    }
}

/// Checks a bearer token: the bytes that a header may contain, without blanks.
///
/// # Errors
/// Returns the expectation; never quotes the token.
pub fn bearer_token(text: &str) -> Result<RemoteCredential, KubeconfigProblem> {
    if text.len() > TOKEN_MAX {
        return Err(KubeconfigProblem::Invalid("a token of at most 65536 bytes; replace it"));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let expected = "a token of printable characters without blanks; replace it";
        return Err(KubeconfigProblem::Invalid(expected));
    }
    Ok(RemoteCredential::Token(text.to_owned()))
}

fn checked(kubeconfig: &[u8]) -> Result<&str, KubeconfigError> {
    if kubeconfig.len() > KUBECONFIG_MAX {
        let found = kubeconfig.len();
        return Err(KubeconfigProblem::TooLarge { found, max: KUBECONFIG_MAX }.at(""));
    }
    std::str::from_utf8(kubeconfig).map_err(|_| KubeconfigProblem::NotUtf8.at(""))
}

/// Returns the context `name`, or without one the current one.
fn context<'t, 's>(
    root: &Fields<'t, 's>,
    name: Option<&str>,
) -> Result<Fields<'t, 's>, KubeconfigError> {
    for (key, expected) in [("apiVersion", "v1"), ("kind", "Config")] {
        if root.text(key)?.is_some_and(|found| found != expected) {
            let problem = KubeconfigProblem::Invalid("a kubeconfig: apiVersion v1, kind Config");
            return Err(problem.at(key));
        }
    }
    let current = "current-context";
    let name = match name {
        Some(name) => name,
        None => root.required(current)?,
    };
    let context = root.entry("contexts", name, "context", current.to_owned())?;
    context.only(&[&CONTEXT])?;
    Ok(context)
}

fn server_of(cluster: &Fields<'_, '_>) -> Result<RemoteServer, KubeconfigError> {
    refuse(cluster, &REFUSED_OF_CLUSTER)?;
    if cluster.is_set(INSECURE) {
        let reason = "it skips the check of the certificate; use certificate-authority-data";
        return Err(KubeconfigProblem::Refused(reason).at(cluster.path(INSECURE)));
    }
    cluster.only(&[&CLUSTER, &REFUSED_OF_CLUSTER.map(|(key, _)| key)])?;
    let at = |key| move |problem: KubeconfigProblem| problem.at(cluster.path(key));
    let server = server::url(cluster.required(SERVER)?).map_err(at(SERVER))?;
    let tls_server_name = cluster.text(TLS_NAME)?.map(server::tls_name).transpose();
    let authority = cluster.text(AUTHORITY)?.map(pem::certificates).transpose();
    Ok(RemoteServer {
        server,
        tls_server_name: tls_server_name.map_err(at(TLS_NAME))?,
        authority: authority.map_err(at(AUTHORITY))?,
    })
}

/// Returns the credential of the user in `context`.
fn credential_of(
    root: &Fields<'_, '_>,
    context: &Fields<'_, '_>,
) -> Result<RemoteCredential, KubeconfigError> {
    let name = context.required("user")?;
    let user = root.entry("users", name, "user", context.path("user"))?;
    refuse(&user, &REFUSED_OF_USER)?;
    user.only(&[&USER, &REFUSED_OF_USER.map(|(key, _)| key)])?;
    let at = |key| {
        let path = user.path(key);
        move |problem: KubeconfigProblem| problem.at(path)
    };
    let has_pair = user.has(CERTIFICATE) || user.has(KEY);
    match user.text(TOKEN)? {
        Some(_) if has_pair => Err(KubeconfigProblem::SeveralCredentials.at(user.own_path())),
        Some(token) => bearer_token(token).map_err(at(TOKEN)),
        None if has_pair => {
            let chain = pem::certificates(user.required(CERTIFICATE)?).map_err(at(CERTIFICATE))?;
            let key = pem::key(user.required(KEY)?).map_err(at(KEY))?;
            Ok(RemoteCredential::Certificate { chain, key })
        }
        None => Err(KubeconfigProblem::NoCredential.at(user.own_path())),
    }
}

fn refuse(
    fields: &Fields<'_, '_>,
    refused: &[(&str, &'static str)],
) -> Result<(), KubeconfigError> {
    let found = refused.iter().find(|(key, _)| fields.has(key));
    found.map_or(Ok(()), |(key, reason)| {
        Err(KubeconfigProblem::Refused(reason).at(fields.path(key)))
    })
}
