{{- define "agent-auth.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "agent-auth.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "agent-auth.labels" -}}
{{ include "agent-auth.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "agent-auth.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "agent-auth.host" -}}
{{- .Values.ingress.host | default (urlParse .Values.publicUrl).hostname -}}
{{- end -}}

{{- /* The secrets that are in use: a list of name, key and setting. */ -}}
{{- define "agent-auth.secrets" -}}
{{- range $setting, $secret := .Values.secrets }}
{{- if $secret.name }}
- {setting: {{ $setting }}, name: {{ $secret.name | quote }}, key: {{ $secret.key | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The text of a setting. In YAML, on and off are booleans; one setting has true and false. */ -}}
{{- define "agent-auth.setting" -}}
{{- $name := index . 0 -}}
{{- $value := index . 1 -}}
{{- if kindIs "float64" $value -}}
{{- int64 $value -}}
{{- else if and (kindIs "bool" $value) (ne $name "allow_private_upstreams") -}}
{{- ternary "on" "off" $value -}}
{{- else -}}
{{- $value -}}
{{- end -}}
{{- end -}}

{{- define "agent-auth.env" -}}
- name: AGENT_AUTH_LISTEN
  value: {{ .Values.listen | quote }}
- name: AGENT_AUTH_PUBLIC_URL
  value: {{ required "publicUrl is required: the address that browsers use, such as https://auth.example.com" .Values.publicUrl | quote }}
- name: AGENT_AUTH_SHUTDOWN_DELAY_SECONDS
  value: {{ .Values.shutdownDelaySeconds | quote }}
{{- range include "agent-auth.secrets" . | fromYamlArray }}
- name: AGENT_AUTH_{{ upper .setting }}_FILE
  value: /run/secrets/agent-auth/{{ .setting }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: AGENT_AUTH_{{ upper $name }}
  value: {{ include "agent-auth.setting" (list $name $value) | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "agent-auth.volumes" -}}
- name: secrets
  projected:
    # Read at start, by the group of the Pod.
    defaultMode: 0440
    sources:
      {{- range include "agent-auth.secrets" . | fromYamlArray }}
      - secret:
          name: {{ .name }}
          items:
            - key: {{ .key }}
              path: {{ .setting }}
      {{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "agent-auth.volumeMounts" -}}
- name: secrets
  mountPath: /run/secrets/agent-auth
  readOnly: true
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "agent-auth.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "agent-auth.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Everything that Deployment and Job need, checked before anything is rendered. */ -}}
{{- define "agent-auth.check" -}}
{{- range list "database_url" "encryption_keys" }}
{{- if not (index $.Values.secrets .).name }}
{{- fail (printf "secrets.%s.name is required: a Secret that exists already" .) }}
{{- end }}
{{- end }}
{{- $values := dict "listen" "listen" "public_url" "publicUrl" "shutdown_delay_seconds" "shutdownDelaySeconds" }}
{{- range $setting, $_ := .Values.secrets }}
{{- $_ := set $values $setting (printf "secrets.%s" $setting) }}
{{- end }}
{{- range $setting, $value := $values }}
{{- if hasKey $.Values.settings $setting }}
{{- fail (printf "settings.%s: use the value %s instead" $setting $value) }}
{{- end }}
{{- end }}
{{- end -}}
