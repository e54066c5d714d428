// Rules of a blkdebug file: which requests to an image fail, after which event, in which state. Sections are
// `[inject-error]` and `[set-state]`; keys and values stand as `key = "value"`.

import { QtestError } from '../errors.ts';
import { type Options, toNumber, toSwitch } from '../options.ts';

/** What happens to an image here; a rule for another event would never strike, and is refused. */
export const DEBUG_EVENTS = [
  'none',
  'read_aio',
  'preadv',
  'write_aio',
  'pwritev',
  'pwritev_zero',
  'flush_to_os',
  'flush_to_disk',
] as const;

export type DebugEvent = (typeof DEBUG_EVENTS)[number];
export type DebugOperation = 'read' | 'write' | 'write-zeroes' | 'discard' | 'flush';

const OPERATIONS: readonly DebugOperation[] = ['read', 'write', 'write-zeroes', 'discard', 'flush'];

const EIO = 5;
const ERRNO_MAX = 4095;
const SECTOR = 512;

interface InjectRule {
  readonly event: DebugEvent;
  /** 0: in any. */
  readonly state: number;
  readonly errno: number;
  /** First byte of the sector that has to be touched; null: all are. */
  readonly offset: number | null;
  readonly operation: DebugOperation | null;
  readonly once: boolean;
}

interface StateRule {
  readonly event: DebugEvent;
  readonly state: number;
  readonly next: number;
}

/** The rules at work: which are armed, and the state. */
export class DebugRules {
  #state = 1;
  readonly #inject: readonly InjectRule[];
  readonly #states: readonly StateRule[];
  readonly #armed = new Set<InjectRule>();

  constructor(inject: readonly InjectRule[], states: readonly StateRule[]) {
    this.#inject = inject;
    this.#states = states;
    this.event('none');
  }

  /** Something happens to the image: rules for it are armed, and the state may change. */
  event(event: DebugEvent): void {
    const state = this.#state;
    const isMeant = (rule: { event: DebugEvent; state: number }): boolean =>
      rule.event === event && (rule.state === 0 || rule.state === state);
    for (const rule of this.#inject) if (isMeant(rule)) this.#armed.add(rule);
    for (const rule of this.#states) if (isMeant(rule)) this.#state = rule.next;
  }

  /** The errno that a request fails with, 0: it does not. A rule for once is then over. */
  strike(operation: DebugOperation, offset: number, bytes: number): number {
    for (const rule of this.#armed) {
      if (rule.operation !== null && rule.operation !== operation) continue;
      if (rule.offset !== null && (rule.offset < offset || rule.offset >= offset + bytes)) continue;
      if (rule.once) this.#armed.delete(rule);
      return rule.errno;
    }
    return 0;
  }
}

/** Reads a file of rules. Throws QtestError, which names the file and the line. */
export function parseDebugRules(text: string, name: string): DebugRules {
  const inject: InjectRule[] = [];
  const states: StateRule[] = [];
  let section: { kind: string; line: number; options: Map<string, string> } | null = null;
  const finish = (): void => {
    if (section === null) return;
    const where = `${name}:${section.line}`;
    if (section.kind === 'inject-error') inject.push(injectRule(section.options, where));
    else states.push(stateRule(section.options, where));
  };
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const kind = /^\[\s*([\w-]+)(?:\s+"[^"]*")?\s*\]$/.exec(line)?.[1];
    const setting = /^([\w-]+)\s*=\s*"([^"]*)"$/.exec(line);
    if (kind !== undefined) {
      finish();
      if (kind !== 'inject-error' && kind !== 'set-state')
        throw new QtestError(
          `${name}:${i + 1}: there is no section "${kind}"; there are inject-error and set-state`,
        );
      section = { kind, line: i + 1, options: new Map() };
    } else if (setting !== null && section !== null) section.options.set(setting[1] ?? '', setting[2] ?? '');
    else throw new QtestError(`${name}:${i + 1}: "${line}" is neither a section nor key = "value" in one`);
  }
  finish();
  return new DebugRules(inject, states);
}

/** Rules as the options of a blkdebug node have them: `inject-error.0.event` and so on. Throws QtestError. */
export function debugRulesOf(options: Options): DebugRules {
  const group = (kind: string): Map<string, string>[] => {
    const found = new Map<string, Map<string, string>>();
    for (const [key, value] of options) {
      const match = /^([a-z-]+)\.(\d+)\.([\w-]+)$/.exec(key);
      if (match?.[1] !== kind) continue;
      const [, , index = '', field = ''] = match;
      const rule = found.get(index) ?? new Map<string, string>();
      found.set(index, rule.set(field, value));
    }
    return [...found.values()];
  };
  return new DebugRules(
    group('inject-error').map((rule) => injectRule(rule, 'inject-error')),
    group('set-state').map((rule) => stateRule(rule, 'set-state')),
  );
}

function injectRule(options: Options, where: string): InjectRule {
  known(options, ['event', 'state', 'errno', 'sector', 'iotype', 'once', 'immediately'], where);
  const sector = options.get('sector');
  const operation = options.get('iotype');
  const errno = toNumber(options.get('errno') ?? `${EIO}`, `${where}: errno`, 1, ERRNO_MAX);
  if (operation !== undefined && !OPERATIONS.some((name) => name === operation))
    throw new QtestError(`${where}: iotype is "${operation}"; there are ${OPERATIONS.join(', ')}`);
  return {
    event: eventOf(options, where),
    state: toNumber(options.get('state') ?? '0', `${where}: state`, 0, 2 ** 31),
    errno,
    offset:
      sector === undefined || sector === '-1'
        ? null
        : toNumber(sector, `${where}: sector`, 0, 2 ** 43) * SECTOR,
    operation: (operation as DebugOperation | undefined) ?? null,
    once: toSwitch(options.get('once') ?? 'off', `${where}: once`),
  };
}

function stateRule(options: Options, where: string): StateRule {
  known(options, ['event', 'state', 'new_state'], where);
  return {
    event: eventOf(options, where),
    state: toNumber(options.get('state') ?? '0', `${where}: state`, 0, 2 ** 31),
    next: toNumber(options.get('new_state') ?? '', `${where}: new_state`, 1, 2 ** 31),
  };
}

function eventOf(options: Options, where: string): DebugEvent {
  const name = options.get('event');
  const event = DEBUG_EVENTS.find((candidate) => candidate === name);
  if (event !== undefined) return event;
  const what = name === undefined ? 'event is missing' : `event is "${name}", which never happens here`;
  throw new QtestError(`${where}: ${what}; there are ${DEBUG_EVENTS.join(', ')}`);
}

function known(options: Options, names: readonly string[], where: string): void {
  for (const key of options.keys()) {
    if (!names.includes(key))
      throw new QtestError(`${where}: there is no "${key}"; there are ${names.join(', ')}`);
  }
}
