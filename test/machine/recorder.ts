// What the CPU does to a machine, written down while a driver runs and done again without one: stores to memory,
// accesses to registers, passing of time. So the hardware can be stopped, put back and taken elsewhere at any
// moment, with no driver's state to be put back with it.

import type { Controller, Machine } from '../../src/machine/index.ts';
import { assert } from '../run/suite.ts';

type Target = 'memory' | 'controller' | 'guard' | 'machine';

/** One step; `result` is what it returned. */
export interface Step {
  readonly target: Target;
  readonly method: string;
  readonly args: readonly unknown[];
  readonly result: unknown;
}

/** What changes something, or reads what a device makes up as it is read. */
const METHODS: Readonly<Record<Target, readonly string[]>> = {
  memory: ['write8', 'write16', 'write32', 'write4x32', 'writeWords', 'fill', 'copy', 'writeBytes', 'forget'],
  controller: [
    'read8',
    'read16',
    'read32',
    'write8',
    'write16',
    'write32',
    'configRead',
    'configWrite',
    'reset',
  ],
  guard: ['map', 'unmap'],
  machine: ['advance', 'takeMsi'],
};

type Methods = Record<string, (...args: unknown[]) => unknown>;

function targetsOf(machine: Machine, controller: Controller): Record<Target, Methods> {
  const { memory, guard } = machine;
  return { memory, controller, guard, machine } as unknown as Record<Target, Methods>;
}

/** Writes down everything from now on; waits for media are left out. */
export function record(machine: Machine, controller: Controller): Step[] {
  const steps: Step[] = [];
  // A function may call another one: only the outer one counts.
  let depth = 0;
  for (const [target, object] of Object.entries(targetsOf(machine, controller)) as [Target, Methods][]) {
    for (const method of METHODS[target]) {
      const original = object[method]?.bind(object);
      if (original === undefined) throw new Error(`${target}.${method} is not there`);
      object[method] = (...args) => {
        const copies = args.map((arg) =>
          arg instanceof Uint8Array || arg instanceof Uint32Array ? arg.slice() : arg,
        );
        if (target === 'guard' && method === 'map') copies[0] = controller.id;
        depth++;
        let result: unknown;
        try {
          result = original(...args);
        } finally {
          depth--;
        }
        if (depth === 0 && result !== 'media') steps.push({ target, method, args: copies, result });
        return result;
      };
    }
  }
  return steps;
}

/** Does a step again, and compares what it returns. False: a medium has to answer first. */
export function replay(machine: Machine, controller: Controller, step: Step, checked = true): boolean {
  const { target, method, result } = step;
  const args = target === 'guard' && method === 'map' ? [controller, ...step.args.slice(1)] : step.args;
  const object = targetsOf(machine, controller)[target];
  const got = object[method]?.(...args);
  if (got === 'media') return false;
  if (checked && got !== result)
    assert.is(got, result, `${target}.${method}(${args.slice(0, 3).join(', ')})`);
  return true;
}
