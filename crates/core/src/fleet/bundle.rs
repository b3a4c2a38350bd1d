//! Objects of a workload cluster, from the templates of the chart.
