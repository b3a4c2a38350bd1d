//! Requests to a registry.

use std::{collections::BTreeMap, io, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Method, Request, Response,
    header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, HeaderValue},
};
use image_swap_core::declaration::Registry;
use tokio::time::timeout;

use crate::{
    challenge::{Challenge, TokenService, challenges, token_service},
    connection::Connection,
    error::Error,
    trust::RegistryTrust,
};

/// Time limit of one request, including the connection.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Path of the API's root.
pub(crate) const ROOT: &str = "/v2/";
/// Largest body that is read, in bytes.
const BODY_MAX: usize = 1 << 20;
/// Media types of manifests (OCI image specification, and Docker's before it).
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*";

/// A client of one registry.
///
/// ```no_run
/// use std::collections::BTreeMap;
///
/// use image_swap_registry::{Error, Lookup, RegistryClient, RegistryTrust, TlsTrust};
///
/// # async fn example() -> Result<(), Error> {
/// let client = RegistryClient {
///     domain: "harbor.example.org".to_owned(),
///     trust: RegistryTrust::Tls(TlsTrust::system_and([])),
///     headers: BTreeMap::new(),
///     authorization: None,
/// };
/// match client.manifest("library/nginx", "1.27").await? {
///     Lookup::Found(digest) => println!("{digest}"),
///     Lookup::NotFound => println!("no such manifest"),
///     Lookup::Inconclusive(reason) => println!("{reason}"),
/// }
/// # Ok(())
/// # }
/// ```
pub struct RegistryClient {
    /// Host, with a port if it differs from that of the scheme.
    pub domain: String,
    /// Transport and trust.
    pub trust: RegistryTrust,
    /// Additional headers of every request, by name.
    pub headers: BTreeMap<String, String>,
    /// Value of the header `Authorization`; `None` for anonymous requests.
    pub authorization: Option<String>,
}

/// The authentication that a registry requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// No authentication.
    Open,
    /// User name and password with every request; tokens may be accepted too.
    Basic,
    /// Only tokens.
    BearerOnly,
}

/// The result of a request to the root of a registry's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// The registry serves the client.
    Yes,
    /// The registry requires a credential, or refuses the one that was sent.
    Unauthorized,
    /// The response is inconclusive, with the reason.
    Unknown(String),
}

/// The result of a request for a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The registry has a manifest with this digest.
    Found(String),
    /// The registry has no such manifest.
    NotFound,
    /// The response is inconclusive, with the reason.
    Inconclusive(String),
}

/// The response of a token service. Services use either field.
#[derive(serde::Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
}

/// Returns the value of `Authorization` for the declared credential; `None` without a user name.
///
/// ```
/// use image_swap_core::declaration::{Declaration, DeclarationSource};
/// use image_swap_registry::basic_authorization;
///
/// let secret = "\
/// apiVersion: v1
/// kind: Secret
/// metadata: {name: registry-info, namespace: jet-system}
/// stringData:
///   DOMAIN: harbor.example.org
///   BASE_PATH: images
///   USERNAME: robot
///   PASSWORD: s3cret
///   INSECURE: 'false'
///   MIRROR_REGISTRIES: docker.io::harbor.example.org/images/docker.io
/// ";
/// let declaration = Declaration::read(DeclarationSource::RegistryInfo, secret, 0).unwrap();
/// let registry = declaration.registry.unwrap();
/// assert_eq!(basic_authorization(&registry).unwrap(), "Basic cm9ib3Q6czNjcmV0");
/// ```
pub fn basic_authorization(registry: &Registry) -> Option<String> {
    Some(["Basic ", &registry.basic()?].concat())
}

impl RegistryClient {
    /// Requests the root of the API, and returns the authentication that the registry requires.
    ///
    /// # Errors
    /// Returns an error if the registry cannot be reached, its certificate is not trusted, or the
    /// response is neither 200 nor 401.
    pub async fn auth_scheme(&self) -> Result<AuthScheme, Error> {
        let response = self.fetch(Method::GET, ROOT, None).await?;
        let found = challenges(response.headers());
        match (response.status().as_u16(), &self.authorization) {
            (200, _) => Ok(AuthScheme::Open),
            (401, _) if found.contains(&Challenge::Basic) => Ok(AuthScheme::Basic),
            // Harbor accepts passwords, although its challenge contains only tokens.
            (401, Some(basic)) if !found.is_empty() => {
                let response = self.fetch(Method::GET, ROOT, Some(basic)).await?;
                let accepts = response.status().as_u16() == 200;
                Ok(if accepts { AuthScheme::Basic } else { AuthScheme::BearerOnly })
            }
            (401, None) if !found.is_empty() => Ok(AuthScheme::BearerOnly),
            (status, _) => Err(self.unexpected(ROOT, status)),
        }
    }

    /// Requests the root of the API, and returns the registry's decision about this client.
    ///
    /// Some token services issue tokens to anonymous clients only for a repository. `repository`
    /// is the name of one.
    ///
    /// # Errors
    /// Returns an error if the registry cannot be reached, its certificate is not trusted, or the
    /// status is 500 or above.
    pub async fn serves(&self, repository: &str) -> Result<Serves, Error> {
        let response = self.fetch(Method::GET, ROOT, self.authorization.as_deref()).await?;
        match response.status().as_u16() {
            200..=299 => Ok(Serves::Yes),
            401 => {
                let Some(service) = token_service(response.headers()) else {
                    return Ok(Serves::Unauthorized);
                };
                if self.token_path(&service, "").is_none() {
                    let realm = service.realm;
                    return Ok(Serves::Unknown(format!(
                        "its token service is {realm}, to which its credential is not sent"
                    )));
                }
                let scope = pull_scope(repository);
                let is_anonymous = self.authorization.is_none();
                let scopes: &[&str] = if is_anonymous { &["", &scope] } else { &[""] };
                for scope in scopes {
                    if self.token(&service, scope).await?.is_ok() {
                        return Ok(Serves::Yes);
                    }
                }
                Ok(Serves::Unauthorized)
            }
            403 => Ok(Serves::Unauthorized),
            status @ 500.. => Err(self.unexpected(ROOT, status)),
            status => Ok(Serves::Unknown(format!("it responds to {ROOT} with {status}"))),
        }
    }

    /// Looks up the manifest of `repository` with the tag or digest `identifier`, by `HEAD`.
    ///
    /// # Errors
    /// Returns an error if the registry cannot be reached, its certificate is not trusted, or the
    /// status is not 200, 401, 403 or 404.
    pub async fn manifest(&self, repository: &str, identifier: &str) -> Result<Lookup, Error> {
        let path = format!("/v2/{repository}/manifests/{identifier}");
        let mut response = self.fetch(Method::HEAD, &path, self.authorization.as_deref()).await?;
        if response.status().as_u16() == 401 {
            let Some(service) = token_service(response.headers()) else {
                return Ok(Lookup::Inconclusive("the declared credential is refused".to_owned()));
            };
            let scope = Some(service.scope.clone()).filter(|scope| !scope.is_empty());
            let scope = scope.unwrap_or_else(|| pull_scope(repository));
            match self.token(&service, &scope).await? {
                Ok(token) => {
                    let bearer = ["Bearer ", &token].concat();
                    response = self.fetch(Method::HEAD, &path, Some(&bearer)).await?;
                }
                Err(reason) => return Ok(Lookup::Inconclusive(reason)),
            }
        }
        let digest = response.headers().get("docker-content-digest");
        let digest = digest.and_then(|value| value.to_str().ok());
        Ok(match (response.status().as_u16(), digest) {
            (200, Some(digest)) => Lookup::Found(digest.to_owned()),
            (200, None) => Lookup::Inconclusive("its response contains no digest".to_owned()),
            (404, _) => Lookup::NotFound,
            (status @ (401 | 403), _) => Lookup::Inconclusive(format!("it responds with {status}")),
            (status, _) => return Err(self.unexpected(&path, status)),
        })
    }

    /// Requests a token for `scope`. The inner error is the reason why no token is issued.
    async fn token(
        &self,
        service: &TokenService,
        scope: &str,
    ) -> Result<Result<String, String>, Error> {
        let realm = &service.realm;
        let Some(path) = self.token_path(service, scope) else {
            return Ok(Err(match service.url() {
                None => format!("the URL of its token service is invalid: {realm}"),
                Some(_) => {
                    format!("its token service is {realm}, for which no credential is declared")
                }
            }));
        };
        let response = self.fetch(Method::GET, &path, self.authorization.as_deref()).await?;
        let token: Option<TokenBody> = serde_json::from_slice(response.body()).ok();
        let token = token.and_then(|found| found.token.or(found.access_token));
        let status = response.status().as_u16();
        Ok(token.ok_or_else(|| format!("its token service responds with {status}")))
    }

    /// Returns path and query of a token request for `scope`. `None` if the service is on another
    /// host than the registry, since the credential must not be sent there.
    pub(crate) fn token_path(&self, service: &TokenService, scope: &str) -> Option<String> {
        let (scheme, _) = self.trust.scheme();
        service.path_on(scheme, &self.domain, scope)
    }

    /// Sends one request on a new connection, and reads the response, within the limits of time
    /// and size.
    async fn fetch(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Response<Bytes>, Error> {
        let exchange = async {
            let mut connection = self.open().await?;
            let request = self.request(method, path, authorization)?;
            let (head, body) = connection.send(request).await?.into_parts();
            let body = Limited::new(body, BODY_MAX).collect().await;
            let body =
                body.map_err(|error| self.error(format!("cannot read its response: {error}")))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let source = io::ErrorKind::TimedOut.into();
        let late = Error::Unreachable { domain: self.domain.clone(), source };
        timeout(TIME_LIMIT, exchange).await.unwrap_or(Err(late))
    }

    /// Connects to the registry.
    pub(crate) async fn open(&self) -> Result<Connection, Error> {
        Connection::open(&self.domain, &self.trust).await
    }

    /// Builds a request for `path`, which includes the query.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Request<Empty<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.domain)
            .header(ACCEPT, MANIFESTS)
            .body(Empty::new())
            .map_err(|error| self.error(error.to_string()))?;
        for (name, value) in &self.headers {
            let (Ok(name), Ok(mut value)) =
                (HeaderName::try_from(name), HeaderValue::from_str(value))
            else {
                return Err(self.error("a header in the host's own files is invalid".to_owned()));
            };
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        if let Some(authorization) = authorization {
            // The original error is dropped, because it may contain the credential.
            let mut value = HeaderValue::from_str(authorization).map_err(|_| {
                self.error("the declared credential cannot stand in a header".to_owned())
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Returns an error of this registry with `reason`.
    fn error(&self, reason: String) -> Error {
        Error::Cannot { domain: self.domain.clone(), reason }
    }

    /// Returns the error for an unexpected status of `path`.
    fn unexpected(&self, path: &str, status: u16) -> Error {
        Error::Unexpected { domain: self.domain.clone(), path: path.to_owned(), status }
    }
}

/// Returns the scope of a token that may pull from `repository`.
fn pull_scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}
