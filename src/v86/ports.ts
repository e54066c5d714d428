// Ports that a controller has taken over, and what answered there before.

import type { PortEntry, V86Cpu } from './cpu.ts';

/** What answers: `at` is the port's number in the range. */
export interface PortHandler {
  read(at: number, size: 1 | 2 | 4): number;
  write(at: number, size: 1 | 2 | 4, value: number): void;
}

/** Puts `handler` at `count` ports from `first` on; the result puts back what was there. */
export function claimPorts(cpu: V86Cpu, first: number, count: number, handler: PortHandler): () => void {
  const { ports } = cpu.io;
  const claimed: { readonly port: number; readonly entry: PortEntry; readonly before: PortEntry }[] = [];
  for (let at = 0; at < count; at++) {
    const port = first + at;
    const before = ports[port];
    if (before === undefined) break; // behind the last port
    const entry = entryFor(handler, at);
    ports[port] = entry;
    claimed.push({ port, entry, before });
  }
  return () => {
    for (const { port, entry, before } of claimed) if (ports[port] === entry) ports[port] = before;
  };
}

function entryFor(handler: PortHandler, at: number): PortEntry {
  return {
    read8: () => handler.read(at, 1),
    read16: () => handler.read(at, 2),
    read32: () => handler.read(at, 4) | 0,
    write8: (value) => handler.write(at, 1, value),
    write16: (value) => handler.write(at, 2, value),
    write32: (value) => handler.write(at, 4, value),
    device: handler,
  };
}
