{{/* Labels of the pods of one component: (list $ "admission"). The chart's labels take precedence. */}}
{{- define "image-swap.podLabels" -}}
{{- $root := index . 0 -}}
{{- $ours := include "image-swap.selector" . | fromYaml -}}
{{/* Exempt from image-swap's webhook, so that the pods start while no replica runs. */}}
{{- $_ := set $ours "image-swap.io/exempt" "true" -}}
{{/* Exempt from imageswap, which may still run. */}}
{{- $_ := set $ours "k8s.twr.io/imageswap" "disabled" -}}
{{- toYaml (merge $ours $root.Values.podLabels) -}}
{{- end }}

{{/* The part of the pod spec that both components share. */}}
{{- define "image-swap.podSpec" -}}
enableServiceLinks: false
priorityClassName: {{ .Values.priorityClassName | default (include "image-swap.fullname" .) }}
securityContext:
  # No runAsUser: the image has a numeric user, and OpenShift assigns its own.
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
nodeSelector:
  {{- toYaml (merge (dict "kubernetes.io/os" "linux") .Values.nodeSelector) | nindent 2 }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - key: kubernetes.io/arch
              operator: In
              values: {{ toJson .Values.architectures }}
{{- include "image-swap.imagePullSecrets" . }}
{{- end }}

{{/* The tolerations of both Deployments. In a new cluster every node may have the startup taint. */}}
{{- define "image-swap.tolerations" -}}
{{- $tolerations := .Values.tolerations }}
{{- if and .Values.agent.enabled .Values.agent.startupTaint }}
{{- $own := dict "key" "image-swap.io/not-configured" "operator" "Exists" }}
{{- $tolerations = append $tolerations $own }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The Secrets by which pods pull image-swap's own image, with a line break before them. */}}
{{- define "image-swap.imagePullSecrets" }}
{{- $secrets := .Values.image.pullSecrets }}
{{- if include "image-swap.imageNeedsSecret" . }}
{{- $secrets = prepend $secrets (printf "%s-image" (include "image-swap.fullname" .)) }}
{{- end }}
{{- with $secrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The part of the container that both components share. */}}
{{- define "image-swap.container" -}}
image: {{ include "image-swap.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* The probes of both components. */}}
{{- define "image-swap.probes" -}}
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet:
    path: /healthz
    port: admin
  # Slow: a restart does not help against failures of the API server.
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}
