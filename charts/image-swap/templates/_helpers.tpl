{{/* The full name of the release, the prefix of every name. The longest suffix, of a Service, leaves 50 of 63 characters. */}}
{{- define "image-swap.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-image-swap" .Release.Name) (contains "image-swap" .Release.Name) -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{/* The selector of the pods of one component: (list $ "admission"). Must never change. */}}
{{- define "image-swap.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: image-swap
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The labels of every object: (list $ "admission"). */}}
{{- define "image-swap.labels" -}}
{{- $root := index . 0 -}}
{{ include "image-swap.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* The name of the Secret with the chart's declaration; empty without one. */}}
{{- define "image-swap.declarationSecret" -}}
{{- if .Values.existingSecret -}}
{{- .Values.existingSecret -}}
{{- else if include "image-swap.registry" . | fromJson -}}
{{- include "image-swap.fullname" . }}-declaration
{{- end -}}
{{- end }}

{{/* The name of the Secret with the serving certificate. */}}
{{- define "image-swap.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "image-swap.fullname" .)) -}}
{{- end }}

{{/* The namespace of the agents. */}}
{{- define "image-swap.agentNamespace" -}}
{{- .Values.agent.namespace | default (printf "%s-agent" (include "image-swap.fullname" .)) -}}
{{- end }}

{{/* The namespace of trial pods. */}}
{{- define "image-swap.trialNamespace" -}}
{{- .Values.agent.trialNamespace | default (printf "%s-trial" (include "image-swap.fullname" .)) -}}
{{- end }}

{{/* "true" if the controller restarts the container runtimes of nodes. */}}
{{- define "image-swap.restarts" -}}
{{- if and .Values.agent.enabled (eq (.Values.agent.restart | default "never") "rolling") -}}true{{- end -}}
{{- end }}

{{/* The namespace of restart pods and of their Leases. */}}
{{- define "image-swap.restartNamespace" -}}
{{- .Values.agent.restartNamespace | default (printf "%s-restart" (include "image-swap.fullname" .)) -}}
{{- end }}

{{/* "true" if the release may contain this cluster-scoped object: (list $ "v1" "Namespace" NAME).
Helm refuses to install an object that exists and belongs to another release. The objects of the
management cluster decide nothing about the bundle. */}}
{{- define "image-swap.mayOwn" -}}
{{- $root := index . 0 -}}
{{- $live := dict -}}
{{- if not $root.Bundle -}}
{{- $live = lookup (index . 1) (index . 2) "" (index . 3) | default dict -}}
{{- end -}}
{{- $annotations := dig "metadata" "annotations" dict $live -}}
{{- $owner := printf "%s/%s" (dig "meta.helm.sh/release-namespace" "" $annotations) (dig "meta.helm.sh/release-name" "" $annotations) -}}
{{- if or (not $live) (eq $owner (printf "%s/%s" $root.Release.Namespace $root.Release.Name)) -}}
true
{{- end -}}
{{- end }}

{{/* "true" if an upgrade ends the agents of the release: their Secret exists, and requests no
restore yet. Empty where Helm does not reach a cluster. */}}
{{- define "image-swap.agentsEnd" -}}
{{- if and .Release.IsUpgrade (not .Values.agent.enabled) -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (printf "%s-nodes" (include "image-swap.fullname" .)) -}}
{{- if and $secret (not (dig "data" "restore" "" $secret)) -}}true{{- end -}}
{{- end -}}
{{- end }}

{{/* The hook that waits until nodes are restored; empty without one. As ordinary objects, which
`helm template` prints, it would delete the reports of nodes. */}}
{{- define "image-swap.awaitRestore" -}}
{{- $ends := include "image-swap.agentsEnd" . -}}
{{- if and .Values.agent.awaitRestore (or .Values.agent.enabled $ends) (lookup "v1" "Namespace" "" "kube-system") -}}
{{- ternary "pre-upgrade" "pre-delete" (eq $ends "true") -}}
{{- end -}}
{{- end }}

{{/* "true" if Helm names the objects that refer to the bootstrap script, after it has deleted the
release. Empty where Helm does not reach a cluster. */}}
{{- define "image-swap.namesReferences" -}}
{{- if and .Values.agent.awaitRestore (include "image-swap.templateNamespaces" .) (lookup "v1" "Namespace" "" "kube-system") -}}
true
{{- end -}}
{{- end }}

{{/* The user name of the Job that waits until nodes are restored. */}}
{{- define "image-swap.restoreUser" -}}
system:serviceaccount:{{ include "image-swap.agentNamespace" . }}:{{ include "image-swap.fullname" . }}-restore
{{- end }}

{{/* The user name of the controller. */}}
{{- define "image-swap.controllerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "image-swap.fullname" . }}-controller
{{- end }}
