// Kernel modules in the order in which they have to be loaded. The packages have no modules.dep (a script makes it on
// installation), but each module says in its .modinfo section what it depends on.

import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface KernelModule {
  /** With underscores, as the kernel calls it. */
  readonly name: string;
  readonly data: Uint8Array;
}

/** The named modules and all that they depend on, each behind what it needs. What is built in is left out. */
export function modulesInOrder(folder: string, names: readonly string[]): KernelModule[] {
  const files = new Map<string, string>();
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (path.endsWith('.ko')) files.set(kernelName(basename(path, '.ko')), join(folder, path));
  }
  const found = new Map<string, KernelModule>();
  const visit = (name: string): void => {
    const path = files.get(name);
    if (path === undefined || found.has(name)) return;
    const data = readFileSync(path);
    for (const needed of dependsOf(data)) visit(needed);
    found.set(name, { name, data });
  };
  for (const name of names) visit(kernelName(name));
  return [...found.values()];
}

function kernelName(name: string): string {
  return name.replaceAll('-', '_');
}

function dependsOf(data: Buffer): string[] {
  const at = data.indexOf('\0depends=');
  if (at < 0) return [];
  const from = at + '\0depends='.length;
  const list = data.toString('latin1', from, data.indexOf(0, from));
  return list
    .split(',')
    .filter((name) => name !== '')
    .map(kernelName);
}
