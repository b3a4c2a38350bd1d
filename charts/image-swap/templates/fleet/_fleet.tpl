{{/* "true" if the release runs the fleet controller. */}}
{{- define "image-swap.fleetEnabled" -}}
{{- if (.Values.fleet | default dict).enabled -}}true{{- end -}}
{{- end }}

{{/* The namespaces whose new machine templates get the bootstrap script, as a JSON list; empty if
none do. */}}
{{- define "image-swap.templateNamespaces" -}}
{{- $fleet := .Values.fleet | default dict -}}
{{- if and $fleet.enabled ($fleet.bootstrap | default dict).enabled -}}
{{- $fleet.namespaces | toJson -}}
{{- end -}}
{{- end }}

{{/* The namespace of the fleet controller. */}}
{{- define "image-swap.fleetNamespace" -}}
{{- (.Values.fleet | default dict).namespace | default (printf "%s-fleet" (include "image-swap.fullname" .)) -}}
{{- end }}

{{/* The name of the ConfigMap with the bundle. */}}
{{- define "image-swap.bundleName" -}}
{{- include "image-swap.fullname" . }}-fleet-bundle
{{- end }}

{{/* The values of a workload cluster, as JSON: those of this release, and fleet.values. No part of a
declaration, and no name that only this cluster has. */}}
{{- define "image-swap.bundleValues" -}}
{{- $values := omit (deepCopy .Values) "config" "ociImageRegistry" "existingSecret" "fleet" "global" -}}
{{- $_ := set $values "tls" (dict "existingSecret" "") -}}
{{- $_ := set $values.image "registry" (include "image-swap.imageRegistry" .) -}}
{{- $_ := set $values.dashboard "enabled" false -}}
{{- $values = mustMergeOverwrite $values (deepCopy (.Values.fleet.values | default dict)) -}}
{{- $_ := set $values.agent "apiServer" (dict "host" "@api-host@" "port" "@api-port@") -}}
{{- toJson $values -}}
{{- end }}

{{/* The namespace of the release on a workload cluster. Helm creates that of other releases. */}}
{{- define "image-swap.bundleNamespace" -}}
apiVersion: v1
kind: Namespace
metadata:
  name: {{ .Release.Namespace }}
  labels:
    {{- $labels := include "image-swap.labels" (list . "controller") | fromYaml }}
    {{- $level := ternary "privileged" "restricted" .Values.admission.hostNetwork }}
    {{- range list "enforce" "warn" "audit" }}
    {{- $_ := set $labels (printf "pod-security.kubernetes.io/%s" .) $level }}
    {{- end }}
    {{- toYaml (merge $labels .Values.agent.namespaceLabels) | nindent 4 }}
{{- end }}
