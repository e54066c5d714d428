// What the commands of QMP have in common: how arguments are declared and checked, and what commands may ask of the server.

import { QtestError } from '../errors.ts';
import type { System } from '../system.ts';

/** Version of the command set that is spoken. */
export const QMP_VERSION = { qemu: { micro: 0, minor: 2, major: 7 }, package: 'backplane' } as const;

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };
export type Arguments = Readonly<Record<string, unknown>>;

/** What the server does for a command beyond the machine. */
export interface QmpHost {
  readonly system: System;
  /** Sends the state to another process, in the background. Throws QtestError for an address that cannot be. */
  migrate(uri: string): void;
  /** Waits for the state of another process there. */
  listenIncoming(uri: string): void;
  readonly migration: MigrationStatus | null;
  /** Ends the server, once the answer is out. */
  quit(): void;
}

export interface MigrationStatus {
  readonly status: 'active' | 'completed' | 'failed';
  readonly error: string | null;
}

type ArgumentType = 'str' | 'int' | 'bool' | 'any';
/** What a value is; of an object, its members: those whose names begin with * may be left out. */
export type Shape = ArgumentType | readonly [Shape] | ObjectShape;
export interface ObjectShape {
  readonly [name: string]: Shape;
}

export interface Command {
  /** Types by name; a name that begins with * may be left out, a `*` alone takes whatever else there is. */
  readonly arguments?: Readonly<Record<string, ArgumentType>>;
  /** What `run` returns; absent: nothing. */
  readonly returns?: Shape;
  /** It may overtake others (`exec-oob`). */
  readonly oob?: boolean;
  /** It may be given before the machine is what it is to be. */
  readonly preconfig?: boolean;
  /** The value to return, `{}` where there is none. `after` is done when the answer is out. Throws QtestError. */
  run(host: QmpHost, args: Arguments): Answer | Promise<Answer>;
}

// biome-ignore lint/suspicious/noConfusingVoidType: what a function returns that returns nothing.
export type Answer = Json | After | undefined | void;

/** An answer that something follows. */
export class After {
  readonly run: () => void;
  constructor(run: () => void) {
    this.run = run;
  }
}

const TYPES: Readonly<Record<Exclude<ArgumentType, 'any'>, readonly [jsType: string, name: string]>> = {
  str: ['string', 'string'],
  int: ['number', 'integer'],
  bool: ['boolean', 'boolean'],
};

/** Throws QtestError for arguments that are missing, of another type, or too many. */
export function checkArguments(declared: NonNullable<Command['arguments']>, args: Arguments): void {
  for (const [key, type] of Object.entries(declared)) {
    if (key === '*') continue;
    const name = key.replace(/^\*/, '');
    const value = args[name];
    if (value === undefined) {
      if (!key.startsWith('*')) throw new QtestError(`Parameter '${name}' is missing`);
      continue;
    }
    if (type === 'any') continue;
    const [jsType, typeName] = TYPES[type];
    const fits = typeof value === jsType && (type !== 'int' || Number.isInteger(value));
    if (!fits) throw new QtestError(`Invalid parameter type for '${name}', expected: ${typeName}`);
  }
  if ('*' in declared) return;
  for (const name of Object.keys(args)) {
    if (!(name in declared) && !(`*${name}` in declared))
      throw new QtestError(`Parameter '${name}' is unexpected`);
  }
}

// Arguments whose type was checked.

export function text(args: Arguments, name: string): string {
  return args[name] as string;
}
export function optional(args: Arguments, name: string): string | undefined {
  return args[name] as string | undefined;
}
export function flag(args: Arguments, name: string): boolean {
  return (args[name] as boolean | undefined) ?? false;
}
export function whole(args: Arguments, name: string): number {
  return args[name] as number;
}
