import { NVME_MDTS_MAX } from '../../assembly/nvme/regs.ts';
import { type ControllerKind, findController, type Profile, parameterOf } from '../controllers/index.ts';
import { createController, type EmbeddedController, EmbedError, type EmbedOptions } from '../embed/index.ts';
import { Attached } from './attached.ts';
import { cpuOf, type V86Cpu, type V86Emulator } from './cpu.ts';
import { Host } from './host.ts';

export interface AttachOptions
  extends Pick<EmbedOptions, 'profile' | 'media' | 'guard' | 'diskBytes' | 'wasm'> {
  readonly controller: ControllerKind;
  /** PCI slot, 0 to 31; default is the first free one from 8 on. Not on ISA. */
  readonly slot?: number;
  /** Interrupt of an AHA-1542, 9 to 15: one that nothing else uses. Default 9, which is ACPI's where v86 has that on. */
  readonly irq?: number;
}

const FIRST_SLOT = 8;
const SLOTS = 32;
/** v86's sound card has the board's usual ports, 330h on. */
const AHA1542_PORT = 0x334;
const AHA1542_IRQ = 9;
const IDE_IRQS = [14, 15];
const V86_IDE_SLOT = 0x1e;
/**
 * What the plain board differs in where no profile is named. NVMe: longer commands than 128 KiB, because here a command
 * costs its guest as much as copying that. virtio-blk: ports instead of memory for the two registers of a request, so
 * that its interrupt comes in at once; no indirect tables and event indexes, which a driver pays for in instructions;
 * and room for a mebibyte in one request.
 */
const USUAL: Partial<Record<ControllerKind, Profile['parameters']>> = {
  nvme: { mdts: NVME_MDTS_MAX },
  'virtio-blk': { ports: true, indirect: false, eventIndex: false, queueSize: 512, segMax: 257 },
};
/** Display memory: the one stretch below the end of RAM where there is none. */
const DISPLAY = 0xa0000;
const DISPLAY_END = 0xc0000;
/** What SeaBIOS asks the host bridge for before it looks for an LSI chip: a machine that is emulated. */
const SUBSYSTEM_AT = 0x2c;
const EMULATED_SUBSYSTEM = 0x11001af4;

/**
 * Puts a controller into a machine that has not executed an instruction yet, so that its BIOS finds it. Waits for
 * `emulator-ready` where that is still to come. Resets and saved states of the machine include the controller.
 * Throws EmbedError for a slot that is taken, a machine that runs, and what createController() refuses.
 */
export async function attach(emulator: V86Emulator, options: AttachOptions): Promise<EmbeddedController> {
  const given: unknown = options;
  if (typeof given !== 'object' || given === null)
    throw new EmbedError('attach() wants at least { controller, media } behind the emulator');
  const cpu = await readyCpu(emulator);
  const host = Host.of(cpu);
  const { controller: kind, media, guard, diskBytes, wasm } = options;
  const slot = slotFor(cpu, options);
  if (slot < 0 && host.has(kind)) throw new EmbedError(`there is an ${kind} already, at the same ports`);
  const { profile, irqs } = boardFor(options);
  let attached: Attached | null = null;
  const controller = await createController({
    kind,
    media,
    dma: {
      memory: host.ram,
      regions: ramOf(host),
      onWrite: (address, bytes) => cpu.jit_dirty_cache(address, address + bytes),
    },
    number: Math.max(0, slot),
    irq: (level, line) => attached?.irq(level, line),
    onMedia: () => attached?.wake(),
    ...(profile === undefined ? {} : { profile }),
    ...(guard === undefined ? {} : { guard }),
    ...(diskBytes === undefined ? {} : { diskBytes }),
    ...(wasm === undefined ? {} : { wasm }),
  });
  if (emulator.is_running()) {
    await controller.close();
    throw new EmbedError(
      'the machine runs already: make it with autostart: false, and run() it after attach()',
    );
  }
  if (kind === 'piix-ide') removeIde(cpu);
  if (kind === 'lsi53c895a') markEmulated(cpu);
  attached = new Attached(host, controller, { slot, irqs });
  return controller;
}

function readyCpu(emulator: V86Emulator): Promise<V86Cpu> {
  if (typeof (emulator as Partial<V86Emulator> | null)?.add_listener !== 'function')
    throw new EmbedError('attach() wants an emulator: what `new V86(…)` of the package v86 makes');
  return new Promise((resolve) => {
    const cpu = cpuOf(emulator);
    if (cpu !== null) resolve(cpu);
    else emulator.add_listener('emulator-ready', () => resolve(cpuOf(emulator) as V86Cpu));
  });
}

/** The slot, −1 on ISA. */
function slotFor({ devices: { pci } }: V86Cpu, { controller, slot }: AttachOptions): number {
  if (findController(controller)?.bus === 'isa') {
    if (slot !== undefined)
      throw new EmbedError(`slot is ${slot}, but ${controller} is an ISA board: leave it out`);
    return -1;
  }
  if (slot === undefined) {
    for (let free = FIRST_SLOT; free < SLOTS; free++) if (pci.devices[free << 3] === undefined) return free;
    throw new EmbedError('no PCI slot is free');
  }
  if (!(Number.isInteger(slot) && slot >= 0 && slot < SLOTS)) {
    throw new EmbedError(`slot is ${slot}; it must be a whole number from 0 to ${SLOTS - 1}`);
  }
  const other = pci.devices[slot << 3];
  if (other !== undefined) throw new EmbedError(`slot ${slot} is taken by ${other.name ?? 'another device'}`);
  return slot;
}

/** The profile as this machine needs it, and interrupts that are not PCI's. */
function boardFor({ controller, profile, irq }: AttachOptions): {
  profile?: string | Profile;
  irqs: readonly number[];
} {
  const given = profile === undefined ? {} : { profile };
  if (controller !== 'aha1542') {
    if (irq !== undefined)
      throw new EmbedError(`irq is ${irq}, but PCI decides the interrupt of ${controller}: leave it out`);
    const usual = profile === undefined ? USUAL[controller] : undefined;
    if (usual !== undefined) return { profile: plainWith(controller, usual), irqs: [] };
    return { ...given, irqs: controller === 'piix-ide' ? IDE_IRQS : [] };
  }
  const description = findController(controller);
  if (description === undefined) return { ...given, irqs: [] }; // createController() refuses it
  const board =
    typeof profile === 'object'
      ? profile
      : description.profiles.find(({ name }) => name === (profile ?? description.profiles[0]?.name));
  if (board === undefined) return { ...given, irqs: [] };
  const number = irq ?? (typeof profile === 'object' ? parameterOf(description, board, 'irq') : AHA1542_IRQ);
  const port = typeof profile === 'object' ? parameterOf(description, board, 'port') : AHA1542_PORT;
  return {
    profile: { ...board, parameters: { ...board.parameters, irq: number, port, thickDisks: true } },
    irqs: [number],
  };
}

/** The plain board with other parameters. */
function plainWith(controller: ControllerKind, parameters: Profile['parameters']): Profile {
  const plain = findController(controller)?.profiles[0];
  if (plain === undefined) throw new EmbedError(`${controller} has no profile`);
  return { ...plain, parameters: { ...plain.parameters, ...parameters } };
}

function ramOf(host: Host): { base: number; bytes: number }[] {
  const { length } = host.ram();
  return [
    { base: 0, bytes: DISPLAY },
    { base: DISPLAY_END, bytes: length - DISPLAY_END },
  ];
}

/** Legacy IDE has fixed ports: there is one in a machine. */
function removeIde({ devices }: V86Cpu): void {
  const { ide, pci } = devices;
  if (ide?.primary !== undefined) {
    throw new EmbedError(
      "v86's own IDE has a disk (hda or hdb), and piix-ide takes its ports: leave those out",
    );
  }
  pci.devices[V86_IDE_SLOT << 3] = undefined;
  pci.device_spaces[V86_IDE_SLOT << 3] = undefined;
}

function markEmulated({ devices: { pci } }: V86Cpu): void {
  const bridge = pci.device_spaces[0];
  if (bridge !== undefined) bridge[SUBSYSTEM_AT >> 2] = EMULATED_SUBSYSTEM;
}
