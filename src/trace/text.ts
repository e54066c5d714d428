// The text form of events: one line each, made from the declaration.

import { type AnyEvent, EVENTS, type FieldKind } from './events.ts';

/** `     12,345 ns  ahci.0    command  tag=3 opcode=0x60 sector=0 count=8` */
export function formatEvent(event: AnyEvent): string {
  const declared: Readonly<Record<string, FieldKind>> = EVENTS[event.name].fields;
  const values = event.fields as Readonly<Record<string, unknown>>;
  const fields = Object.entries(declared).map(([name, kind]) => `${name}=${formatField(kind, values[name])}`);
  const time = event.time.toLocaleString('en-US').padStart(14);
  return `${time} ns  ${(event.device ?? '-').padEnd(10)} ${event.name.padEnd(17)} ${fields.join(' ')}`;
}

function formatField(kind: FieldKind, value: unknown): string {
  if (kind === 'hex') return `0x${(value as number).toString(16)}`;
  if (kind === 'flag') return value === true ? 'yes' : 'no';
  return String(value);
}
