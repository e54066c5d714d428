// What tests of the Linux kernel share.

import { PAGE_SIZE, type Page, type Sleeps } from '../../src/kernel/index.ts';
import { type Bio, bootLinux, GFP_KERNEL, type LinuxApi, type LinuxOptions } from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';

export { assertBug, assertDeadlock } from '../kernel/help.ts';

/** A kernel on a small machine of its own. */
export async function boot(options: LinuxOptions = {}): Promise<LinuxApi> {
  return bootLinux(await createMachine({ ram: 'small' }), options);
}

/** Runs a body in a task, to its end, and returns its value. */
export function inTask<T>(linux: LinuxApi, body: () => Sleeps<T>): T {
  return linux.kernel.scheduler.complete('test', body);
}

/** Runs something that cannot sleep in a task. */
export function inProcess<T>(linux: LinuxApi, body: () => T): T {
  return linux.kernel.scheduler.complete('test', function* () {
    return body();
  });
}

/** The value, where a test is sure that there is one. */
export function must<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('NULL');
  return value;
}

/** A page filled with one byte. */
export function filledPage(linux: LinuxApi, byte: number): Page {
  const page = must(linux.kernel.allocator.alloc({ tag: 'test' }));
  linux.kernel.memory.fill(page.phys, byte, PAGE_SIZE);
  return page;
}

/** A bio over fresh pages, one vec of `bytes` from offset 0 each, its page i filled with i + 1. */
export function bioOf(linux: LinuxApi, pages: number, bytes = PAGE_SIZE): Bio {
  const bio = must(inProcess(linux, () => linux.bio_kmalloc(GFP_KERNEL, pages)));
  for (let i = 0; i < pages; i++) linux.bio_add_page(bio, filledPage(linux, i + 1), bytes, 0);
  return bio;
}

/** Objects of a slab in use. */
export function objects(linux: LinuxApi, cache: string): number {
  return linux.slab_in_use().find((use) => use.cache === cache)?.objects ?? 0;
}
