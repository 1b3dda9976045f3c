import { useState } from 'react'

/** useOnce is true from the first time on that wanted is: what is loaded late then stays. */
export function useOnce(wanted: boolean): boolean {
  const [was, setWas] = useState(wanted)
  if (wanted && !was) setWas(true)
  return was || wanted
}
