// What the glue of every kernel does for its drivers: lets them wait, and tells the guard of commands that end wrongly.

import type { Rule } from '../guard/index.ts';
import { AsyncMediaError, type Interrupts } from '../kernel/index.ts';
import type { Machine } from '../machine/index.ts';
import type { DriverCommand, DriverHost } from './driver.ts';

/** `waitUntil` of a DriverHost: the machine runs on, and interrupts are delivered. */
export function waiterOf(machine: Machine, interrupts: Interrupts): DriverHost['waitUntil'] {
  return (ready, timeoutNs) => {
    const end = machine.now() + timeoutNs;
    while (!ready()) {
      if (machine.now() >= end) return false;
      const why = machine.advance(Math.min(end, machine.nextDeadline()));
      if (why === 'media')
        throw new AsyncMediaError('a driver that waits', 'use a synchronous one while it recovers');
      if (why === 'irq') interrupts.deliver();
    }
    return true;
  };
}

/** A command with its place among those of its device. */
export interface NumberedCommand extends DriverCommand {
  readonly tag: number;
  /** Name of its device. */
  readonly device: string;
}

/** Reports a command that has `what` wrong with it; `bytes`: how much it was to move. */
export function reportCommand(
  { guard }: Machine,
  rule: Rule,
  command: NumberedCommand,
  bytes: number,
  what: string,
): void {
  const { device, op, lba, tag, direction, segments } = command;
  const access = direction === 'none' ? null : direction === 'read' ? 'write' : 'read';
  guard.report({
    rule,
    message: `${device}: command ${tag} (${op}, sector ${lba}) is ${what}`,
    device,
    address: segments.count === 0 ? null : (segments.addresses[0] ?? null),
    length: bytes,
    direction: access,
    command: tag,
  });
}
