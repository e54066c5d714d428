// What an image is, out of the options of -drive, -blockdev and blockdev-add: a chain of drivers down to a file or to
// nothing.

import type { ImageFormat } from '../../media/index.ts';
import { QtestError } from '../errors.ts';
import { flattenOptions, near, type Options, toNumber, toSize, toSwitch } from '../options.ts';
import { type DebugRules, debugRulesOf, parseDebugRules } from './blkdebug.ts';

export interface NodeSpec {
  /** Path of the file; where there is none, how messages call it. */
  readonly filename: string;
  /** Size of a disk without bytes; null: there is a file. */
  readonly nullBytes: number | null;
  /** Null: what the file's first bytes say. */
  readonly format: ImageFormat | null;
  readonly readOnly: boolean;
  /** A file that may only be read is opened so. */
  readonly autoReadOnly: boolean;
  /** What is written is kept in memory. */
  readonly snapshot: boolean;
  readonly rules: DebugRules | null;
}

/** Reads a text file, for the rules of a blkdebug node. It may take as long as a pipe does. */
export type ReadText = (path: string) => string | Promise<string>;

const FORMATS: Readonly<Record<string, ImageFormat>> = { raw: 'raw', qcow2: 'qcow2', vpc: 'vhd' };
const NULL_BYTES = 2 ** 30;
/** Drivers that stand on each other. */
const DEPTH_MAX = 16;

/** Keys that change nothing that a guest sees here. */
const HARMLESS = [
  'aio', 'auto-read-only', 'cache', 'cache-size', 'copy-on-read', 'detect-zeroes', 'discard', 'discard-data-file',
  'driver', 'force-share', 'format', 'l2-cache-size', 'latency-ns', 'lazy-refcounts', 'locking', 'node-name',
  'overlap-check', 'read-only', 'read-zeroes', 'refcount-cache-size', 'size', 'x-check-cache-dropped', 'align',
  'max-transfer', 'opt-write-zero', 'max-write-zero', 'opt-discard', 'max-discard', 'immediately',
] as const; // biome-ignore format: a list

interface Draft {
  filename: string | null;
  nullBytes: number | null;
  format: ImageFormat | null;
  readOnly: boolean;
  autoReadOnly: boolean;
  rules: DebugRules | null;
}

export interface SpecOptions {
  readonly snapshot: boolean;
  readonly readText: ReadText;
  /** The node of that name, where a child may be given by name. */
  lookUp(name: string): NodeSpec | undefined;
}

/** The image that `options` describe. Throws QtestError, which begins with `what`. */
export async function specOf(options: Options, what: string, context: SpecOptions): Promise<NodeSpec> {
  const draft: Draft = {
    filename: null,
    nullBytes: null,
    format: null,
    readOnly: false,
    autoReadOnly: true,
    rules: null,
  };
  await descend(draft, options, what, context, 0);
  if (draft.filename === null) throw new QtestError(`${what}: no file is named`);
  return { ...draft, filename: draft.filename, snapshot: context.snapshot };
}

async function descend(
  draft: Draft,
  options: Options,
  what: string,
  context: SpecOptions,
  depth: number,
): Promise<void> {
  if (depth > DEPTH_MAX) throw new QtestError(`${what}: more than ${DEPTH_MAX} drivers stand on each other`);
  checkKeys(options, what);
  const flag = (key: string, preset: boolean): boolean =>
    toSwitch(options.get(key) ?? (preset ? 'on' : 'off'), `${what}: ${key}`);
  draft.readOnly ||= flag('read-only', false);
  draft.autoReadOnly &&= flag('auto-read-only', true);
  const child = (key: string): Promise<void> =>
    descend(draft, childOf(draft, options, key, what, context), what, context, depth + 1);
  const driver = options.get('driver') ?? options.get('format') ?? 'probe';
  const filename = options.get('filename');
  if (driver === 'resolved') return;
  if (driver in FORMATS) {
    draft.format ??= FORMATS[driver] ?? null;
    await child('file');
  } else if (driver === 'probe' || driver === 'copy-on-read' || driver === 'throttle') await child('file');
  else if (driver === 'file' || driver === 'host_device') {
    if (filename === undefined) throw new QtestError(`${what}: the filename is missing`);
    draft.filename = filename;
    if (depth === 0) draft.format = 'raw';
  } else if (driver === 'null-co' || driver === 'null-aio') {
    draft.filename = `${driver}://`;
    draft.nullBytes = toSize(options.get('size') ?? `${NULL_BYTES}`, `${what}: size`);
  } else if (driver === 'blkdebug') {
    draft.rules = await debugRules(options, what, context);
    await child('image');
  } else {
    const known = [
      ...Object.keys(FORMATS),
      'file',
      'null-co',
      'null-aio',
      'blkdebug',
      'copy-on-read',
      'throttle',
    ];
    throw new QtestError(`${what}: there is no driver "${driver}"; there are ${known.join(', ')}`);
  }
}

/** The options of the child `key`: its own set, that of a node by name, or what a file name says. */
function childOf(
  draft: Draft,
  options: Options,
  key: string,
  what: string,
  context: SpecOptions,
): Map<string, string> {
  const child = new Map<string, string>();
  for (const [name, value] of options)
    if (name.startsWith(`${key}.`)) child.set(name.slice(key.length + 1), value);
  const value = options.get(key) ?? (key === 'file' ? options.get('filename') : undefined);
  const node = value === undefined ? undefined : context.lookUp(value);
  if (node !== undefined) {
    draft.filename = node.filename;
    draft.nullBytes = node.nullBytes;
    draft.rules ??= node.rules;
    draft.readOnly ||= node.readOnly;
    return new Map([['driver', 'resolved']]);
  }
  if (value !== undefined) {
    for (const [name, setting] of protocolOptions(value, what))
      if (!child.has(name)) child.set(name, setting);
  }
  if (child.size === 0) throw new QtestError(`${what}: ${key} is missing`);
  if (!child.has('driver') && child.has('filename') && !child.has('file')) child.set('driver', 'file');
  return child;
}

/** What a file name says by its beginning, as options. */
function protocolOptions(file: string, what: string): Map<string, string> {
  if (/^null-(co|aio):\/\//.test(file)) return new Map([['driver', file.slice(0, file.indexOf(':'))]]);
  if (file.startsWith('json:')) {
    try {
      return flattenOptions(JSON.parse(file.slice(5)), what);
    } catch (error) {
      if (error instanceof SyntaxError)
        throw new QtestError(`${what}: "${file}" is no JSON: ${error.message}`);
      throw error;
    }
  }
  const debug = /^blkdebug:([^:]*):(.*)$/s.exec(file);
  if (debug !== null) {
    const [, config = '', image = ''] = debug;
    const options = new Map([
      ['driver', 'blkdebug'],
      ['image', image],
    ]);
    return config === '' ? options : options.set('config', config);
  }
  const protocol = /^([a-z][a-z0-9+.-]*):/i.exec(file)?.[1];
  if (protocol !== undefined && protocol !== 'file')
    throw new QtestError(
      `${what}: "${file}": there is no protocol "${protocol}"; a path is meant as file:PATH`,
    );
  return new Map([
    ['driver', 'file'],
    ['filename', file.replace(/^file:/, '')],
  ]);
}

async function debugRules(options: Options, what: string, context: SpecOptions): Promise<DebugRules> {
  const config = options.get('config');
  if (config === undefined) return debugRulesOf(options);
  let text: string;
  try {
    text = await context.readText(config);
  } catch (error) {
    throw new QtestError(`${what}: ${config} cannot be read: ${(error as Error).message}`);
  }
  return parseDebugRules(text, config);
}

/** Throws QtestError for an option that no driver has. */
export function checkKeys(options: Options, what: string): void {
  for (const [key, value] of options) {
    const isChild = /^(file|image|inject-error|set-state|cache|throttling|pass-discard-[a-z]+)(\.|$)/.test(
      key,
    );
    if (
      isChild ||
      ['filename', 'config', 'throttle-group'].includes(key) ||
      HARMLESS.some((name) => name === key)
    )
      continue;
    const known = [...HARMLESS, 'file', 'filename', 'config', 'image', 'throttle-group'];
    throw new QtestError(`${what}: there is no option "${key}" (it is "${value}")${near(key, known)}`);
  }
  const latency = options.get('latency-ns');
  if (latency !== undefined) toNumber(latency, `${what}: latency-ns`, 0, 2 ** 53 - 1);
}
