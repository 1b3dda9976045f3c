import { useQuery } from '@tanstack/react-query'
import { LayoutTemplate } from 'lucide-react'
import { templatesQuery } from '@/api/queries'
import { bytes, cores } from '@/lib/format'
import { Fact, Facts } from '@/ui/list'
import { Empty, Panel, Problem, Skeleton } from '@/ui/panel'

/** Templates are what can be started by its name. The operator sets them with TEMPLATES. */
export function Templates() {
  const list = useQuery(templatesQuery)
  if (list.isPending) return <Skeleton lines={4} className="h-24" />
  if (list.error) return <Problem error={list.error} retry={() => void list.refetch()} />
  if (list.data.length === 0)
    return (
      <Panel>
        <Empty icon={LayoutTemplate} title="There is no template" />
      </Panel>
    )
  return (
    <div className="grid grid-cols-2 gap-3 max-md:grid-cols-1">
      {list.data.map((t) => (
        <Panel key={t.name} title={t.name}>
          {t.description && <p className="mb-2 text-muted">{t.description}</p>}
          <Facts>
            <Fact name="Image">
              <code className="font-mono text-xs break-all">{t.image}</code>
            </Fact>
            <Fact name="CPU">{t.cpuLimit > 0 ? `at most ${cores(t.cpuLimit)} cores` : 'no limit'}</Fact>
            <Fact name="Memory">{t.memoryLimit > 0 ? `at most ${bytes(t.memoryLimit)}` : 'no limit'}</Fact>
            {t.webCommand && (
              <Fact name="Web command">
                <code className="font-mono text-xs break-all">{t.webCommand}</code>
              </Fact>
            )}
            {t.placement?.constraints && (
              <Fact name="Placement">
                <code className="font-mono text-xs break-all">{t.placement.constraints.join(', ')}</code>
              </Fact>
            )}
            {t.environment && t.environment.length > 0 && (
              <Fact name="Environment">
                <code className="font-mono text-xs break-all">{t.environment.join(', ')}</code>
              </Fact>
            )}
          </Facts>
        </Panel>
      ))}
    </div>
  )
}
