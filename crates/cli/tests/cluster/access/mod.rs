//! Rights of the service accounts: sufficient, and without a right that is not used.

mod enough;
mod nodes;
mod policy;
mod refused;
mod removal;
mod rules;

/// Values that grant every right that the chart can grant, and use each: the controller
/// makes the namespace jet-system where Helm does not.
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
