// The server's command line, in the form that clients of the protocol write for other emulators.

import { QtestError } from './errors.ts';
import { near, type Options, parseOptions, readOptions, toNumber, toSize, toSwitch } from './options.ts';

export type Architecture = 'x86_64' | 'i386';
export type MachineKind = 'pc' | 'q35' | 'none';

/** Where bytes come from and go to. */
export type Endpoint =
  | { readonly kind: 'unix'; readonly path: string; readonly listen: boolean }
  | { readonly kind: 'stdio' };

/** `-global TYPE.property=value`: what a device of that type gets unless its own options say otherwise. */
export interface GlobalProperty {
  readonly type: string;
  readonly property: string;
  readonly value: string;
}

/** `-boot`: what firmware does first. */
export interface BootOptions {
  /** Letters of devices: a and b floppies, c disk, d CD-ROM, n network. */
  readonly order: string;
  /** The same until the first reset. */
  readonly once: string | null;
  /** Firmware looks whether a floppy can be booted. */
  readonly floppySignature: boolean;
  readonly menu: boolean;
  /** How long the menu waits, in ms; null: as firmware likes. */
  readonly menuWaitMs: number | null;
  /** After how many ms a machine that found nothing starts anew; 2^32 - 1: never. */
  readonly failWaitMs: number;
}

export interface CommandLine {
  readonly machine: MachineKind;
  readonly ramBytes: number;
  /** Whether the machine has what nobody asked for: an empty CD-ROM drive, slots of a display and a network card. */
  readonly defaults: boolean;
  readonly display: boolean;
  readonly network: boolean;
  readonly qtest: Endpoint | null;
  /** A file that commands and answers are written to. */
  readonly log: string | null;
  /** Where QMP is spoken. */
  readonly monitors: readonly Endpoint[];
  readonly drives: readonly Options[];
  readonly blockdevs: readonly Options[];
  readonly devices: readonly Options[];
  readonly objects: readonly Options[];
  readonly globals: readonly GlobalProperty[];
  /** Where the state of another process comes from. */
  readonly incoming: string | null;
  /** The machine begins stopped. */
  readonly paused: boolean;
  /** The machine waits to be told what it is to be (`-preconfig`). */
  readonly preconfig: boolean;
  /** Images are not written: what changes is kept in memory. */
  readonly snapshot: boolean;
  readonly boot: BootOptions;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** The time at which the machine starts, in seconds since 1970; null: the host's. */
  readonly startSeconds: number | null;
  /** The server ends with the process that started it. */
  readonly endsWithParent: boolean;
  /** The client is made for version 8.0 of QMP's schema or a later one: such clients give -audio. */
  readonly isRecent: boolean;
  readonly show: 'help' | 'version' | null;
}

/** Options with a value that make no difference here. */
const HARMLESS_VALUES = [
  'D', 'L', 'audiodev', 'bios', 'cpu', 'd', 'display', 'k', 'msg', 'name', 'overcommit', 'parallel',
  'sandbox', 'serial', 'smbios', 'smp', 'trace', 'vnc',
] as const; // biome-ignore format: a list
/** And switches. */
const HARMLESS_SWITCHES = [
  'enable-fips', 'no-acpi', 'no-hpet', 'no-reboot', 'no-shutdown', 'no-user-config', 'nographic',
  'no-kvm', 'usb',
] as const; // biome-ignore format: a list

/** What an option without a meaning of its own adds to the rest of the command line. */
interface Draft {
  machine: MachineKind;
  ramBytes: number;
  defaults: boolean;
  display: boolean;
  network: boolean;
  qtest: Endpoint | null;
  log: string | null;
  drives: Options[];
  blockdevs: Options[];
  devices: Options[];
  objects: Options[];
  globals: GlobalProperty[];
  incoming: string | null;
  paused: boolean;
  preconfig: boolean;
  snapshot: boolean;
  boot: BootOptions;
  uuid: Uint8Array;
  startSeconds: number | null;
  endsWithParent: boolean;
  isRecent: boolean;
  show: 'help' | 'version' | null;
  chardevs: Map<string, Endpoint | null>;
  /** Endpoints of monitors: of a character device by its name, or of their own. */
  monitors: (string | Endpoint)[];
}

const DEFAULT_RAM = 128 * 2 ** 20;
const MIB = 2 ** 20;
const FOREVER = 2 ** 32 - 1;
const WAIT_MAX_MS = 65535;

type Setter = (draft: Draft, value: string) => void;

const WITH_VALUE: Readonly<Record<string, Setter>> = {
  M: setMachine,
  machine: setMachine,
  m: (draft, value) => {
    const options = parseOptions(value, 'size');
    for (const key of options.keys()) {
      if (!['size', 'slots', 'maxmem'].includes(key))
        throw new QtestError(`-m ${value}: there is no "${key}"`);
    }
    draft.ramBytes = toSize(options.get('size') ?? '128', '-m', 'm');
    if (draft.ramBytes < MIB) throw new QtestError(`-m ${value}: a machine has at least 1 MiB`);
  },
  qtest: (draft, value) => {
    draft.qtest = toEndpoint(value, '-qtest');
  },
  'qtest-log': (draft, value) => {
    draft.log = value === '/dev/null' || value === 'none' ? null : value;
  },
  chardev: addChardev,
  mon: (draft, value) => {
    const options = parseOptions(value, 'chardev');
    const chardev = options.get('chardev');
    if (chardev === undefined) throw new QtestError(`-mon ${value}: chardev= is missing`);
    const mode = options.get('mode') ?? 'readline';
    if (mode !== 'control')
      throw new QtestError(`-mon ${value}: mode is "${mode}"; only control (QMP) is there`);
    draft.monitors.push(chardev);
  },
  qmp: (draft, value) => {
    draft.monitors.push(toEndpoint(value, '-qmp'));
  },
  monitor: (_draft, value) => {
    if (value !== 'none' && value !== 'null')
      throw new QtestError(`-monitor ${value}: only none is there; QMP is -qmp`);
  },
  drive: (draft, value) => {
    draft.drives.push(parseOptions(value));
  },
  blockdev: (draft, value) => {
    draft.blockdevs.push(readOptions(value, 'driver', '-blockdev'));
  },
  device: (draft, value) => {
    draft.devices.push(readOptions(value, 'driver', '-device'));
  },
  object: (draft, value) => {
    draft.objects.push(readOptions(value, 'qom-type', '-object'));
  },
  global: addGlobal,
  incoming: (draft, value) => {
    draft.incoming = value;
  },
  cdrom: (draft, value) => {
    draft.drives.push(parseOptions(`index=2,media=cdrom,file=${value.replaceAll(',', ',,')}`));
  },
  accel: (_draft, value) => checkAccelerator(value, `-accel ${value}`),
  boot: setBoot,
  rtc: setClock,
  uuid: (draft, value) => {
    if (!/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value))
      throw new QtestError(`-uuid ${value}: it must be as 550e8400-e29b-41d4-a716-446655440000`);
    draft.uuid = Buffer.from(value.replaceAll('-', ''), 'hex');
  },
  vga: (draft, value) => {
    draft.display = value !== 'none';
  },
  net: setNetwork,
  nic: setNetwork,
  'run-with': setSurroundings,
  audio: (draft) => {
    draft.isRecent = true;
  },
  ...Object.fromEntries(
    ['hda', 'hdb', 'hdc', 'hdd'].map((name, index): [string, Setter] => [
      name,
      (draft, value) => {
        draft.drives.push(parseOptions(`index=${index},media=disk,file=${value.replaceAll(',', ',,')}`));
      },
    ]),
  ),
  ...Object.fromEntries(HARMLESS_VALUES.map((name): [string, Setter] => [name, () => {}])),
};

const SWITCHES: Readonly<Record<string, (draft: Draft) => void>> = {
  nodefaults: (draft) => {
    draft.defaults = false;
  },
  'no-fd-bootchk': (draft) => {
    draft.boot = { ...draft.boot, floppySignature: false };
  },
  preconfig: (draft) => {
    draft.preconfig = true;
  },
  S: (draft) => {
    draft.paused = true;
  },
  snapshot: (draft) => {
    draft.snapshot = true;
  },
  h: show('help'),
  help: show('help'),
  version: show('version'),
  ...Object.fromEntries(HARMLESS_SWITCHES.map((name) => [name, () => {}])),
};

/**
 * Reads the arguments. Throws QtestError, which names the argument that is wrong. Words that belong to no option are put
 * into `operands`; where there is none they are wrong, too.
 */
export function readCommandLine(args: readonly string[], operands: string[] | null = null): CommandLine {
  const draft: Draft = {
    machine: 'pc',
    ramBytes: DEFAULT_RAM,
    defaults: true,
    display: true,
    network: true,
    qtest: null,
    log: null,
    drives: [],
    blockdevs: [],
    devices: [],
    objects: [],
    globals: [],
    incoming: null,
    paused: false,
    preconfig: false,
    snapshot: false,
    boot: {
      order: 'cad',
      once: null,
      floppySignature: true,
      menu: false,
      menuWaitMs: null,
      failWaitMs: FOREVER,
    },
    uuid: new Uint8Array(16),
    startSeconds: null,
    endsWithParent: false,
    isRecent: false,
    show: null,
    chardevs: new Map(),
    monitors: [],
  };
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] as string;
    const name = /^--?([A-Za-z].*)$/.exec(argument)?.[1];
    if (name === undefined) {
      if (operands === null) throw new QtestError(`"${argument}" is no option; images are given with -drive`);
      operands.push(argument);
      continue;
    }
    const turnOn = Object.hasOwn(SWITCHES, name) ? SWITCHES[name] : undefined;
    const set = Object.hasOwn(WITH_VALUE, name) ? WITH_VALUE[name] : undefined;
    if (turnOn !== undefined) turnOn(draft);
    else if (set !== undefined) {
      const value = args[++i];
      if (value === undefined) throw new QtestError(`${argument} needs a value`);
      set(draft, value);
    } else {
      const known = [...Object.keys(WITH_VALUE), ...Object.keys(SWITCHES)];
      throw new QtestError(`there is no option ${argument}${near(name, known)}`);
    }
  }
  return finish(draft);
}

/** Options that are taken and mean nothing, with and without a value: for the documentation. */
export function harmlessOptions(): readonly string[] {
  return [...HARMLESS_VALUES, ...HARMLESS_SWITCHES].map((name) => `-${name}`).sort();
}

function finish({ chardevs, monitors, ...rest }: Draft): CommandLine {
  const endpoints = monitors.flatMap((monitor) => {
    if (typeof monitor !== 'string') return [monitor];
    const endpoint = chardevs.get(monitor);
    if (endpoint === undefined) throw new QtestError(`-mon: there is no -chardev with id "${monitor}"`);
    return endpoint === null ? [] : [endpoint];
  });
  const stdio = [rest.qtest, ...endpoints].filter((endpoint) => endpoint?.kind === 'stdio');
  if (stdio.length > 1) throw new QtestError('stdio can serve only one of -qtest and the monitors');
  return {
    ...rest,
    display: rest.display && rest.defaults,
    network: rest.network && rest.defaults,
    monitors: endpoints,
  };
}

/** Properties of machines that make no difference here. */
const HARMLESS_MACHINE = [
  'acpi', 'dump-guest-core', 'graphics', 'hpet', 'i8042', 'kernel-irqchip', 'mem-merge', 'memory-backend',
  'nvdimm', 'pic', 'pit', 'sata', 'smbus', 'smm', 'suppress-vmdesc', 'usb', 'vmport',
] as const; // biome-ignore format: a list

function setMachine(draft: Draft, value: string): void {
  const options = parseOptions(value, 'type');
  for (const [key, setting] of options) {
    if (key === 'type') draft.machine = machineOf(setting);
    else if (key === 'fd-bootchk')
      draft.boot = {
        ...draft.boot,
        floppySignature: toSwitch(setting, `-machine ${value}: fd-bootchk`),
      };
    else if (key === 'accel') checkAccelerator(setting, `-machine ${value}`);
    else if (!HARMLESS_MACHINE.some((name) => name === key))
      throw new QtestError(`-machine ${value}: a machine has no property "${key}"`);
  }
}

/** Whoever wants a processor waits for what never comes: better that they hear it. */
function checkAccelerator(value: string, what: string): void {
  const name = value.split(/[:,]/)[0];
  if (name !== 'qtest') throw new QtestError(`${what}: there is no processor, and so no "${name}" but qtest`);
}

function machineOf(name: string): MachineKind {
  if (name === 'none') return 'none';
  if (/^pc(-i440fx-\d+\.\d+)?$/.test(name)) return 'pc';
  if (/^(pc-)?q35(-\d+\.\d+)?$/.test(name)) return 'q35';
  throw new QtestError(`there is no machine "${name}"; there are pc, q35 and none`);
}

/** Keys of -boot that make no difference here. */
const HARMLESS_BOOT = ['splash', 'strict'];

function setBoot(draft: Draft, value: string): void {
  const { boot } = draft;
  const options = parseOptions(value, 'order');
  for (const key of options.keys())
    if (!['order', 'once', 'menu', 'splash-time', 'reboot-timeout', ...HARMLESS_BOOT].includes(key))
      throw new QtestError(`-boot ${value}: there is no "${key}"; there are order, once, menu and others`);
  const wait = (key: string, preset: number | null): number | null => {
    const text = options.get(key);
    if (text === undefined) return preset;
    return text === '-1' ? FOREVER : toNumber(text, `-boot ${value}: ${key}`, 0, WAIT_MAX_MS);
  };
  const menu = options.get('menu');
  draft.boot = {
    order: options.get('order') ?? boot.order,
    once: options.get('once') ?? boot.once,
    floppySignature: boot.floppySignature,
    menu: menu === undefined ? boot.menu : toSwitch(menu, `-boot ${value}: menu`),
    menuWaitMs: wait('splash-time', boot.menuWaitMs),
    failWaitMs: wait('reboot-timeout', boot.failWaitMs) ?? FOREVER,
  };
}

/** `-rtc base=`; its clock is the protocol's in any case. */
function setClock(draft: Draft, value: string): void {
  for (const [key, setting] of parseOptions(value)) {
    if (key === 'clock' || key === 'driftfix') continue;
    if (key !== 'base') throw new QtestError(`-rtc ${value}: there is no "${key}"; there is base`);
    if (setting === 'utc' || setting === 'localtime') continue;
    const time = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d)?$/.test(setting)
      ? Date.parse(setting.includes('T') ? `${setting}Z` : setting)
      : Number.NaN;
    if (Number.isNaN(time))
      throw new QtestError(`-rtc ${value}: base is "${setting}"; write utc or 2006-06-17T16:01:21`);
    draft.startSeconds = time / 1000;
  }
}

function toEndpoint(value: string, option: string): Endpoint {
  if (value === 'stdio') return { kind: 'stdio' };
  const [address = '', ...rest] = value.split(',');
  if (!address.startsWith('unix:') || address.length === 5) {
    throw new QtestError(`${option} ${value}: only unix:PATH and stdio are there`);
  }
  const options = parseOptions(rest.join(','));
  const server = options.get('server') ?? 'off';
  return { kind: 'unix', path: address.slice(5), listen: toSwitch(server, `${option} ${value}: server`) };
}

function addChardev(draft: Draft, value: string): void {
  const options = parseOptions(value, 'backend');
  const id = options.get('id');
  if (id === undefined) throw new QtestError(`-chardev ${value}: id= is missing`);
  if (draft.chardevs.has(id))
    throw new QtestError(`-chardev ${value}: there is one with the id "${id}" already`);
  const backend = options.get('backend');
  if (backend === 'null') draft.chardevs.set(id, null);
  else if (backend === 'stdio') draft.chardevs.set(id, { kind: 'stdio' });
  else if (backend === 'socket') {
    const path = options.get('path');
    if (path === undefined)
      throw new QtestError(`-chardev ${value}: path= is missing; only unix sockets are there`);
    const listen = toSwitch(options.get('server') ?? 'off', `-chardev ${value}: server`);
    draft.chardevs.set(id, { kind: 'unix', path, listen });
  } else
    throw new QtestError(
      `-chardev ${value}: there is no backend "${backend}"; there are socket, stdio and null`,
    );
}

function addGlobal(draft: Draft, value: string): void {
  const match = /^([^.=]+)\.([^=]+)=(.*)$/s.exec(value);
  if (match !== null) {
    const [, type = '', property = '', setting = ''] = match;
    draft.globals.push({ type, property, value: setting });
    return;
  }
  const options = parseOptions(value);
  const [type, property, setting] = ['driver', 'property', 'value'].map((key) => options.get(key));
  if (type === undefined || property === undefined || setting === undefined)
    throw new QtestError(`-global ${value}: it must be TYPE.property=value`);
  draft.globals.push({ type, property, value: setting });
}

function setNetwork(draft: Draft, value: string): void {
  if (value !== 'none') throw new QtestError(`-net and -nic ${value}: only none is there`);
  draft.network = false;
}

function setSurroundings(draft: Draft, value: string): void {
  for (const [key, setting] of parseOptions(value)) {
    if (key !== 'exit-with-parent')
      throw new QtestError(`-run-with ${value}: there is no "${key}"; only exit-with-parent is there`);
    draft.endsWithParent = toSwitch(setting, `-run-with ${value}: ${key}`);
  }
}

function show(what: 'help' | 'version'): (draft: Draft) => void {
  return (draft) => {
    draft.show = what;
  };
}
