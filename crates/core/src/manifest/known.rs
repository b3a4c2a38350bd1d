//! Image fields of well-known custom resources.
//!
//! Containers in lists with the names of a pod's lists are found in every kind and need no row.
//! Images that are pushed to (`spec.build.output.image` of a `KafkaConnect`), or composed of
//! several fields (repository and tag), have no row either.

use super::field::{FieldSpec, segments};

/// A group, some of its kinds, and the paths of their image fields, both separated by spaces.
type KnownField = (&'static str, &'static str, &'static str);

/// Source: the API reference of each project; the versions of a group agree.
const ROWS: &[KnownField] = &[
    ("acid.zalan.do", "postgresql", "spec/dockerImage"),
    ("actions.summerwind.dev", "Runner", "spec/image"),
    ("actions.summerwind.dev", "RunnerDeployment RunnerReplicaSet", "spec/template/spec/image"),
    ("agent.k8s.elastic.co", "Agent", "spec/image"),
    ("apm.k8s.elastic.co", "ApmServer", "spec/image"),
    ("asdb.aerospike.com", "AerospikeCluster", "spec/image"),
    ("beat.k8s.elastic.co", "Beat", "spec/image"),
    ("caching.internal.knative.dev", "Image", "spec/image"),
    ("cassandra.datastax.com", "CassandraDatacenter", "spec/serverImage"),
    ("ceph.rook.io", "CephCluster", "spec/cephVersion/image"),
    ("dragonflydb.io", "Dragonfly", "spec/image"),
    ("elasticsearch.k8s.elastic.co", "Elasticsearch", "spec/image"),
    ("enterprisesearch.k8s.elastic.co", "EnterpriseSearch", "spec/image"),
    ("flink.apache.org", "FlinkDeployment", "spec/image"),
    ("helm.cattle.io", "HelmChart", "spec/jobImage"),
    ("k8s.mariadb.com", "MariaDB MaxScale", "spec/image"),
    (
        "kafka.strimzi.io",
        "Kafka",
        "spec/kafka/image spec/zookeeper/image spec/entityOperator/topicOperator/image \
         spec/entityOperator/userOperator/image spec/entityOperator/tlsSidecar/image \
         spec/cruiseControl/image spec/kafkaExporter/image spec/jmxTrans/image",
    ),
    (
        "kafka.strimzi.io",
        "KafkaConnect KafkaMirrorMaker KafkaMirrorMaker2 KafkaBridge",
        "spec/image",
    ),
    ("kibana.k8s.elastic.co", "Kibana", "spec/image"),
    (
        "kubevirt.io",
        "VirtualMachine VirtualMachineInstanceReplicaSet",
        "spec/template/spec/volumes[]/containerDisk/image \
         spec/template/spec/domain/firmware/kernelBoot/container/image",
    ),
    (
        "kubevirt.io",
        "VirtualMachineInstance",
        "spec/volumes[]/containerDisk/image spec/domain/firmware/kernelBoot/container/image",
    ),
    ("logstash.k8s.elastic.co", "Logstash", "spec/image"),
    ("maps.k8s.elastic.co", "ElasticMapsServer", "spec/image"),
    ("minio.min.io", "Tenant", "spec/image"),
    ("monitoring.coreos.com", "Prometheus PrometheusAgent Alertmanager ThanosRuler", "spec/image"),
    ("monitoring.coreos.com", "Prometheus", "spec/thanos/image"),
    ("opentelemetry.io", "OpenTelemetryCollector TargetAllocator", "spec/image"),
    ("opentelemetry.io", "OpenTelemetryCollector", "spec/targetAllocator/image"),
    (
        "opentelemetry.io",
        "Instrumentation",
        "spec/java/image spec/nodejs/image spec/python/image spec/dotnet/image spec/go/image \
         spec/apacheHttpd/image spec/nginx/image",
    ),
    ("operators.coreos.com", "CatalogSource", "spec/image"),
    ("operators.coreos.com", "ClusterServiceVersion", "spec/relatedImages[]/image"),
    (
        "pgv2.percona.com",
        "PerconaPGCluster",
        "spec/image spec/proxy/pgBouncer/image spec/backups/pgbackrest/image spec/pmm/image",
    ),
    (
        "postgresql.cnpg.io",
        "Cluster",
        "spec/imageName spec/postgresql/extensions[]/image/reference",
    ),
    ("postgresql.cnpg.io", "ImageCatalog ClusterImageCatalog", "spec/images[]/image"),
    ("psmdb.percona.com", "PerconaServerMongoDB", "spec/image spec/backup/image spec/pmm/image"),
    (
        "pxc.percona.com",
        "PerconaXtraDBCluster",
        "spec/pxc/image spec/haproxy/image spec/proxysql/image spec/logcollector/image \
         spec/backup/image spec/pmm/image",
    ),
    ("rabbitmq.com", "RabbitmqCluster", "spec/image"),
    (
        "redis.redis.opstreelabs.in",
        "Redis RedisCluster RedisReplication RedisSentinel",
        "spec/kubernetesConfig/image spec/redisExporter/image",
    ),
    (
        "sparkoperator.k8s.io",
        "SparkApplication",
        "spec/image spec/driver/image spec/executor/image",
    ),
    (
        "sparkoperator.k8s.io",
        "ScheduledSparkApplication",
        "spec/template/image spec/template/driver/image spec/template/executor/image",
    ),
    ("tekton.dev", "StepAction", "spec/image"),
    ("upgrade.cattle.io", "Plan", "spec/upgrade/image spec/prepare/image"),
    ("vault.banzaicloud.com", "Vault", "spec/image spec/bankVaultsImage"),
];

/// Returns every row as fields.
pub(super) fn fields() -> Vec<FieldSpec> {
    let mut fields = Vec::new();
    for (group, kinds, paths) in ROWS {
        for kind in kinds.split(' ') {
            fields.extend(paths.split(' ').map(|path| FieldSpec {
                group: Some((*group).to_owned()),
                version: None,
                kind: Some(kind.to_owned()),
                path: segments(path),
            }));
        }
    }
    fields
}
