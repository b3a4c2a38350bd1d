{{/* Labels of the pods of one component: (list $ "admission"). Ours win. */}}
{{- define "image-swap.podLabels" -}}
{{- $root := index . 0 -}}
{{- $ours := include "image-swap.selector" . | fromYaml -}}
{{/* Matched by no webhook of ours: we must start when nobody answers. */}}
{{- $_ := set $ours "image-swap.io/exempt" "true" -}}
{{/* Left alone by imageswap, which may still be there. */}}
{{- $_ := set $ours "k8s.twr.io/imageswap" "disabled" -}}
{{- toYaml (merge $ours $root.Values.podLabels) -}}
{{- end }}

{{/* What every pod has, whatever it does. */}}
{{- define "image-swap.podSpec" -}}
enableServiceLinks: false
priorityClassName: {{ .Values.priorityClassName | default (include "image-swap.fullname" .) }}
securityContext:
  # No runAsUser: the image has a numeric one, and OpenShift chooses its own.
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

{{/* What every container has. */}}
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

{{/* Probes and scrapes: the same of admission and controller. */}}
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
  # Slow to judge: a restart helps against nothing that the API server's own
  # trouble causes.
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}
