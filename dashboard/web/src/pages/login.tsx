import { useNavigate, useSearch } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { ApiError, asApiError } from '@/api/client'
import { login, queryClient, sessionQuery } from '@/api/queries'
import { safeNext } from '@/lib/search'
import { Mark } from '@/ui/brand'
import { Button } from '@/ui/button'
import { Field, Input } from '@/ui/field'
import { useNow } from '@/ui/time'

/** Login exchanges an API key for a session. The key stays in no place but the form. */
export default function Login() {
  const { next, reason } = useSearch({ from: '/login' })
  const navigate = useNavigate()
  const [key, setKey] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const [until, setUntil] = useState(0)
  const wait = Math.max(0, Math.ceil((until - useNow()) / 1_000))

  useEffect(() => {
    document.title = 'Log in · Berth'
  }, [])

  const submit = async () => {
    setBusy(true)
    setError(undefined)
    try {
      await login(key.trim())
      await queryClient.fetchQuery({ ...sessionQuery, staleTime: 0 })
      const to = safeNext(next)
      if (to) await navigate({ href: to, replace: true })
      else await navigate({ to: '/', replace: true })
    } catch (caught) {
      const e = asApiError(caught)
      setError(e)
      if (e.status === 429) setUntil(Date.now() + (e.retryAfter ?? 30) * 1_000)
    } finally {
      setBusy(false)
    }
  }
  const sentence = error && (error.status === 401 ? 'This key is not known. Check that you have pasted all of it.' : error.status === 429 ? 'Too many tries.' : error.message)
  return (
    <main className="grid min-h-dvh place-items-center p-4">
      <div className="w-full max-w-sm">
        <div className="mb-6 flex flex-col items-center gap-3 text-center">
          <Mark className="size-11" />
          <div>
            <h1 className="text-lg font-semibold tracking-tight">Log in to Berth</h1>
            <p className="text-muted">With an API key of yours</p>
          </div>
        </div>
        <form
          className="space-y-4 rounded-xl border border-line bg-surface p-5"
          onSubmit={(e) => {
            e.preventDefault()
            if (key.trim() !== '' && wait === 0) void submit()
          }}
        >
          {reason && !error && (
            <p role="status" className="rounded-md bg-warn-soft px-3 py-2 text-warn">
              {reason}
            </p>
          )}
          <input type="text" name="username" autoComplete="username" value="berth" readOnly hidden />
          <Field label="API key" required>
            {/* oxlint-disable-next-line jsx-a11y/no-autofocus -- the page has nothing else */}
            <Input type="password" name="password" autoComplete="current-password" autoFocus spellCheck={false} maxLength={1_000} value={key} onChange={(e) => setKey(e.target.value)} className="w-full font-mono" />
          </Field>
          {sentence && (
            <div role="alert" className="rounded-md bg-bad-soft px-3 py-2 text-bad">
              <p>
                {sentence}
                {wait > 0 && ` Try again in ${wait} s.`}
              </p>
              {error.requestId && error.status !== 401 && <p className="mt-1 text-xs">Request {error.requestId}</p>}
            </div>
          )}
          <Button type="submit" look="primary" size="lg" busy={busy} disabled={key.trim() === '' || wait > 0}>
            {wait > 0 ? `Wait ${wait} s` : 'Log in'}
          </Button>
        </form>
      </div>
    </main>
  )
}
