{{/* Path, name and access of the mounts of an agent, as JSON: (list $ "containerd"). Every
directory is below /host at its own path. The wider one is first: it may contain the next. */}}
{{- define "image-swap.agentMounts" -}}
{{- $paths := (index . 0).Values.agent.hostPaths -}}
{{/* The agent keeps its state at this path, whatever the directory of the host is. */}}
{{- $state := dict "name" "state" "path" $paths.state "at" "/var/lib/image-swap" "readOnly" false -}}
{{/* Links with the start of each unit; no socket. */}}
{{- $units := dict "name" "units" "path" "/run/systemd/units" "readOnly" true -}}
{{- $mounts := list -}}
{{- if eq (index . 1) "containerd" -}}
{{- $mounts = append $mounts (dict "name" "config" "path" $paths.containerdConfig "readOnly" true) -}}
{{- $mounts = append $mounts (dict "name" "mirrors" "path" $paths.certsD "readOnly" false) -}}
{{- else if eq (index . 1) "crio" -}}
{{- $mounts = append $mounts (dict "name" "config" "path" "/etc/containers" "readOnly" true) -}}
{{- $mounts = append $mounts (dict "name" "mirrors" "path" $paths.registriesConfD "readOnly" false) -}}
{{- $mounts = append $mounts (dict "name" "trust" "path" $paths.containersCertsD "readOnly" false) -}}
{{- else -}}
{{- $mounts = append $mounts (dict "name" "config" "path" $paths.rancher "readOnly" true) -}}
{{- end -}}
{{- toJson (append (append $mounts $state) $units) -}}
{{- end }}

{{/* The DaemonSet of the nodes with one runtime: (list $ "containerd"). */}}
{{- define "image-swap.agentDaemonSet" -}}
{{- $root := index . 0 -}}
{{- $runtime := index . 1 -}}
{{- $agent := $root.Values.agent -}}
{{- $name := include "image-swap.fullname" $root -}}
{{- $mounts := include "image-swap.agentMounts" . | fromJsonArray -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ $name }}-agent-{{ $runtime }}
  namespace: {{ include "image-swap.agentNamespace" $root }}
  labels:
    {{- include "image-swap.labels" (list $root "agent") | nindent 4 }}
    image-swap.io/runtime: {{ $runtime }}
spec:
  revisionHistoryLimit: 3
  updateStrategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 10%
  selector:
    matchLabels:
      {{- include "image-swap.selector" (list $root "agent") | nindent 6 }}
      image-swap.io/runtime: {{ $runtime }}
  template:
    metadata:
      labels:
        {{- include "image-swap.podLabels" (list $root "agent") | nindent 8 }}
        image-swap.io/runtime: {{ $runtime }}
      {{- with $root.Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      enableServiceLinks: false
      # Starts before the network of pods, and before other pods.
      hostNetwork: true
      dnsPolicy: {{ ternary "Default" "ClusterFirstWithHostNet" (not (empty $agent.apiServer.host)) }}
      priorityClassName: system-node-critical
      securityContext:
        # Files of runtimes belong to root.
        runAsUser: 0
        runAsGroup: 0
        runAsNonRoot: false
        seccompProfile:
          type: RuntimeDefault
        seLinuxOptions:
          # Containers of other types may not write files of the host.
          type: spc_t
      nodeSelector:
        kubernetes.io/os: linux
        image-swap.io/runtime: {{ $runtime }}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - key: kubernetes.io/arch
                    operator: In
                    values: {{ toJson $root.Values.architectures }}
                  # Nodes without a host: they accept every toleration.
                  - key: type
                    operator: NotIn
                    values: [virtual-kubelet]
                  - key: eks.amazonaws.com/compute-type
                    operator: NotIn
                    values: [fargate]
                  - key: liqo.io/type
                    operator: NotIn
                    values: [virtual-node]
      tolerations:
        - operator: Exists
      {{- with include "image-swap.imagePullSecrets" $root }}
      {{- trim . | nindent 6 }}
      {{- end }}
      serviceAccountName: {{ $name }}-agent
      automountServiceAccountToken: true
      # An apply or a restore that runs is finished first.
      terminationGracePeriodSeconds: 60
      containers:
        - name: agent
          image: {{ include "image-swap.image" $root | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
              # Owner and mode of files are kept.
              add: [CHOWN, FOWNER]
          terminationMessagePolicy: FallbackToLogsOnError
          args:
            - agent
            - --namespace={{ $root.Release.Namespace }}
            - --name={{ $name }}
            - --runtime={{ $runtime }}
            - --root=/host
            - --resync={{ $agent.resync }}
            {{- if include "image-swap.restarts" $root }}
            - --restart=rolling
            {{- end }}
            - --log-level={{ $root.Values.log.level }}
            - --log-format={{ $root.Values.log.format }}
          env:
            - name: NODE_NAME
              valueFrom:
                fieldRef:
                  fieldPath: spec.nodeName
            {{- with $agent.apiServer.host }}
            - name: KUBERNETES_SERVICE_HOST
              value: {{ . | quote }}
            - name: KUBERNETES_SERVICE_PORT
              value: {{ $agent.apiServer.port | default "443" | toString | quote }}
            {{- end }}
          resources:
            {{- toYaml $agent.resources | nindent 12 }}
          volumeMounts:
            {{- range $mounts }}
            - name: {{ .name }}
              mountPath: /host{{ .at | default .path }}
              {{- if .readOnly }}
              readOnly: true
              {{- end }}
            {{- end }}
      volumes:
        {{- range $mounts }}
        - name: {{ .name }}
          hostPath:
            path: {{ .path }}
            type: DirectoryOrCreate
        {{- end }}
{{- end }}
