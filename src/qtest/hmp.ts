// The few commands of the human monitor that clients send through QMP.

import type { Drive, MediaOperation } from '../machine/index.ts';
import { MachineError } from '../machine/index.ts';
import { MediumError } from '../media/index.ts';
import type { BlockDrive } from './block/graph.ts';
import { QtestError } from './errors.ts';
import { parseOptions } from './options.ts';
import { openTray, removeMedium } from './qmp/block.ts';
import type { QmpHost } from './qmp/command.ts';
import type { System } from './system.ts';

type Human = (host: QmpHost, words: readonly string[]) => string | Promise<string>;

const COMMANDS: Readonly<Record<string, Human>> = {
  info: (host, words) => info(host, words[1] ?? ''),
  'qemu-io': ({ system }, words) => blockIo(system, words),
  stop: ({ system }) => quiet(() => system.stop()),
  cont: ({ system }) => quiet(() => system.resume()),
  system_reset: ({ system }) => quiet(() => system.reset(false, 'host-qmp-system-reset')),
  quit: (host) => quiet(() => host.quit()),
  device_add: ({ system }, words) => quiet(() => system.plug(parseOptions(words[1] ?? '', 'driver'))),
  device_del: ({ system }, words) => quiet(() => system.unplug(words[1] ?? '')),
  drive_add: async ({ system }, words) => {
    await system.graph.addDrive(parseOptions(words.at(-1) ?? ''));
    return 'OK\r\n';
  },
  drive_del: ({ system }, words) => quiet(() => system.graph.remove(system.graph.find(words[1] ?? ''))),
  eject: ({ system }, words) => {
    const force = words.includes('-f');
    const name = words.find((word, i) => i > 0 && word !== '-f') ?? '';
    const { drive, optical } = system.graph.findOptical(name);
    openTray(optical, name, force);
    system.settle();
    removeMedium(drive, optical);
    return '';
  },
  help: (_host, words) => {
    if (words[1] === 'info')
      return lines(Object.entries(INFO).map(([name, { about }]) => `info ${name} -- ${about}`));
    return lines(Object.keys(COMMANDS).sort());
  },
};

/** Runs one line of the human monitor and returns what it prints; mistakes are printed, too. */
export async function runHuman(host: QmpHost, line: string): Promise<string> {
  const words = Array.from(
    line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g),
    ([, quoted, plain]) => quoted ?? plain ?? '',
  );
  const name = words[0] ?? '';
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return `unknown command: '${name}'\r\n`;
  try {
    return await command(host, words);
  } catch (error) {
    const known =
      error instanceof QtestError || error instanceof MachineError || error instanceof MediumError;
    if (!known) throw error;
    return `Error: ${error.message}\r\n`;
  }
}

function quiet(run: () => unknown): string {
  run();
  return '';
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\r\n`).join('');
}

interface InfoCommand {
  readonly about: string;
  show(system: System): readonly string[];
}

const INFO: Readonly<Record<string, InfoCommand>> = {
  block: {
    about: 'drives, what is in them and where they are',
    show: ({ graph }) =>
      graph.drives.filter(({ id, device }) => id !== '' || device !== null).map((drive) => describe(drive)),
  },
  qtree: {
    about: 'devices and their buses',
    show: ({ tree }) =>
      tree.devices.map(({ type, id, bus }) => `dev: ${type.name}, id "${id ?? ''}" on ${bus.name}`),
  },
  status: {
    about: 'whether the machine runs',
    show: (system) => [`VM status: ${system.running ? 'running' : `paused${stateOf(system)}`}`],
  },
  version: { about: 'version of the command set', show: () => ['7.2.0'] },
};

function stateOf({ state }: System): string {
  return state === 'paused' ? '' : ` (${state})`;
}

function info({ system }: QmpHost, what: string): string {
  const command = Object.hasOwn(INFO, what) ? INFO[what] : undefined;
  if (command !== undefined) return lines(command.show(system));
  throw new QtestError(`there is no "info ${what}"; there are ${Object.keys(INFO).join(', ')}`);
}

function describe(drive: BlockDrive): string {
  const { node, disk, id, path } = drive;
  const medium =
    node === null
      ? '[not inserted]'
      : `${node.spec.filename} (${node.spec.format ?? 'raw'}${node.readOnly ? ', read-only' : ''})`;
  const found = [`${id === '' ? (drive.device ?? '') : id}: ${medium}`];
  if (path !== null) found.push(`    Attached to:      ${path}`);
  if (disk !== null && drive.isCdrom) {
    const { locked, open } = (disk as Drive).tray;
    found.push(`    Removable device: ${locked ? '' : 'not '}locked, tray ${open ? 'open' : 'closed'}`);
  }
  if (node !== null) found.push('    Cache mode:       writeback');
  return `${found.join('\r\n')}\r\n`;
}

// `qemu-io DRIVE "break EVENT TAG"`: requests of a kind wait until "resume TAG".

/** What each event holds back. */
const HELD: Readonly<Record<string, readonly MediaOperation[]>> = {
  read_aio: ['read'],
  preadv: ['read'],
  write_aio: ['write'],
  pwritev: ['write'],
  pwritev_zero: ['zero', 'discard'],
  flush_to_os: ['flush'],
  flush_to_disk: ['flush'],
};

function blockIo(system: System, words: readonly string[]): string {
  const drive = system.graph.find(words[1] ?? '');
  const { disk } = drive;
  if (disk === null) throw new QtestError(`Device '${words[1]}' belongs to no device`);
  const [name = '', ...args] = words.slice(2).join(' ').trim().split(/\s+/);
  if (name === 'break') {
    const [event = '', tag = ''] = args;
    const operations = HELD[event];
    if (operations === undefined)
      throw new QtestError(
        `Could not set a breakpoint: there is no event '${event}' to hold; there are ${Object.keys(HELD).join(', ')}`,
      );
    if (tag === '') throw new QtestError('break needs an event and a tag');
    system.machine.addFault({ disk, kind: 'hold', operations, argument: drive.tagNumber(tag, true) });
    return '';
  }
  if (name === 'resume' || name === 'remove_break') {
    system.machine.release(disk, drive.tagNumber(args[0] ?? '', false));
    system.settle();
    return '';
  }
  if (name === 'wait_break') return '';
  if (name === 'flush') {
    drive.node?.flush();
    return '';
  }
  throw new QtestError(
    `there is no qemu-io command "${name}"; there are break, resume, remove_break, wait_break and flush`,
  );
}
