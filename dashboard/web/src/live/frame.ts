/** perFrame runs work at most once a frame, however often it is asked for; in a hidden tab, which has no frames, four times
 * a second. */
export function perFrame(work: () => void): () => void {
  let waiting = false
  const run = () => {
    waiting = false
    work()
  }
  return () => {
    if (waiting) return
    waiting = true
    if (document.hidden) setTimeout(run, 250)
    else requestAnimationFrame(run)
  }
}
