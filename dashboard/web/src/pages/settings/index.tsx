import { useNavigate, useParams } from '@tanstack/react-router'
import { settingsTabs } from '@/lib/search'
import { useCan } from '@/lib/session'
import { useTitle } from '@/lib/title'
import { PageHead } from '@/ui/list'
import { Tabs } from '@/ui/tabs'
import { Keys } from './keys'
import { Schedules } from './schedules'
import { Templates } from './templates'
import { Webhooks } from './webhooks'

const labels = { keys: 'API keys', webhooks: 'Webhooks', schedules: 'Schedules', templates: 'Templates' }

/** Settings are keys, webhooks, schedules and what can be started. */
export default function Settings() {
  const { tab } = useParams({ from: '/shell/settings/$tab' })
  const navigate = useNavigate()
  const { admin } = useCan()
  useTitle(labels[tab])
  const tabs = settingsTabs.filter((t) => admin || (t !== 'keys' && t !== 'schedules')).map((id) => ({ id, label: labels[id] }))
  const at = tabs.some((t) => t.id === tab) ? tab : 'webhooks'
  return (
    <div className="mx-auto max-w-5xl p-4 max-md:p-3">
      <PageHead title="Settings" />
      <Tabs label="Settings" tabs={tabs} value={at} onChange={(to) => void navigate({ to: '/settings/$tab', params: { tab: to } })} className="mb-4 border-b border-line" />
      <div role="tabpanel" aria-label={labels[at]}>
        {at === 'keys' && <Keys />}
        {at === 'webhooks' && <Webhooks />}
        {at === 'schedules' && <Schedules />}
        {at === 'templates' && <Templates />}
      </div>
    </div>
  )
}
