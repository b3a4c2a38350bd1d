//! Permissions of the service accounts: sufficient, and each of them used.

mod enough;
mod fleet;
mod living_fleet;
mod nodes;
mod policy;
mod refused;
mod removal;
mod restarts;
mod rules;

/// Values with which the chart grants all of its permissions, and each is used. The controller
/// creates the namespace jet-system, since Helm does not.
const VALUES: &str = "
adopt: true
registryInfoNamespace: {create: false}
ociImageRegistry:
  endpoint: https://chart.example.org
  name: Harbor
  username: robot
  password: s3cret-of-the-robot
  baseContentPath: airgap
  insecureSkipVerify: false
  mirrorRegistries: docker.io::chart.example.org/airgap/docker.io
";
