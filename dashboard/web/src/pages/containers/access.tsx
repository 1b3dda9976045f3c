import { useMutation } from '@tanstack/react-query'
import { Eye, EyeOff } from 'lucide-react'
import { useState } from 'react'
import { api, call } from '@/api/client'
import type { Container } from '@/api/types'
import { Button, IconButton } from '@/ui/button'
import { Copy } from '@/ui/copy'
import { Panel, Problem } from '@/ui/panel'

/** Access shows the passwords, when asked; they are kept nowhere. */
export function Access({ c }: { c: Container }) {
  const credentials = useMutation({ mutationFn: () => call(api.GET('/api/containers/{id}/credentials', { params: { path: { id: c.id } } })), gcTime: 0 })
  const d = credentials.data
  return (
    <Panel title="Credentials">
      {!d && !credentials.error && (
        <div className="space-y-3">
          <p className="text-muted">The passwords of code-server and of the desktop. Whoever has them can do everything in this container.</p>
          <Button onClick={() => credentials.mutate()} busy={credentials.isPending}>
            <Eye aria-hidden className="size-4" /> Show the credentials
          </Button>
        </div>
      )}
      {credentials.error && <Problem error={credentials.error} retry={() => credentials.mutate()} />}
      {d && (
        <div className="space-y-2">
          <Secret name="code-server" value={d.codeServerPassword} />
          <Secret name="Desktop" value={d.vncPassword} />
          {d.webhookSecret && <Secret name="Webhook secret" value={d.webhookSecret} />}
        </div>
      )}
    </Panel>
  )
}

/** Secret is a value that is hidden until it is asked for. */
export function Secret({ name, value }: { name: string; value: string }) {
  const [shown, setShown] = useState(false)
  return (
    <div className="flex min-h-8 items-center gap-2">
      <span className="w-28 shrink-0 text-muted">{name}</span>
      <code className="min-w-0 flex-1 font-mono break-all">{shown ? value : '•'.repeat(12)}</code>
      <IconButton label={shown ? `Hide: ${name}` : `Show: ${name}`} onClick={() => setShown(!shown)}>
        {shown ? <EyeOff className="size-4" /> : <Eye className="size-4" />}
      </IconButton>
      <Copy text={value} label={`Copy: ${name}`} />
    </div>
  )
}
