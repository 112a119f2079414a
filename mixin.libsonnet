// The alerts, recording rules and dashboards of cdi-exporter for jsonnet users:
//
//   (import 'cdi-exporter/mixin.libsonnet') + { _config+:: { grafanaUrl: 'https://…' } }
//
// The rules and dashboards are those of prometheus/rules/ and grafana/dashboards/.
{
  _config+:: {
    // Address of a copy of docs/runbooks/. Empty: no links to runbooks.
    runbookUrl: '',
    // Address of Grafana. Empty: no links to dashboards.
    grafanaUrl: '',
    // Whether to alert if Prometheus has no target of the exporter. Set it to false in a Prometheus that
    // is not meant to scrape the exporter.
    exporterAbsent: true,
  },

  local withLinks(text, name, url, separator) =
    if url == '' then text
    else std.strReplace(text, '# ' + name + ': ', name + ': ' + std.rstripChars(url, '/') + separator),

  local groupsOf(text) =
    local withRunbooks = withLinks(text, 'runbook_url', $._config.runbookUrl, '/');
    std.parseYaml(withLinks(withRunbooks, 'dashboard_url', $._config.grafanaUrl, '')).groups,

  local groups =
    groupsOf(importstr 'prometheus/rules/braze-cdi.yml')
    + (if $._config.exporterAbsent then groupsOf(importstr 'prometheus/rules/braze-cdi-absent.yml') else []),

  local hasAlerts(group) = std.length([rule for rule in group.rules if 'alert' in rule]) > 0,

  // Groups with alerts, and with the recording rules that must be evaluated right before them.
  prometheusAlerts+:: { groups+: [group for group in groups if hasAlerts(group)] },

  prometheusRules+:: { groups+: [group for group in groups if !hasAlerts(group)] },

  grafanaDashboards+:: {
    'braze-cdi-overview.json': import 'grafana/dashboards/braze-cdi-overview.json',
    'braze-cdi-integration.json': import 'grafana/dashboards/braze-cdi-integration.json',
  },
}
