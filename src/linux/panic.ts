import { KernelBug } from '../kernel/index.ts';

/** What cannot fail at boot did. */
export function panic(what: string): never {
  throw new KernelBug('panic', 'no memory at boot', what);
}
