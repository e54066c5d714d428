// The ways from a guest to an optical drive: each brings a command descriptor block to it and its data back, through the
// registers of a controller.

import * as aha from '../../assembly/aha1542/regs.ts';
import type { Drive, DriveOptions, Machine } from '../../src/machine/index.ts';
import { DATA as BOARD_DATA, Board } from '../aha1542/board.ts';
import * as hba from '../ahci/hba.ts';
import { DATA as CHIP_DATA, Chip } from '../lsi53c895a/chip.ts';
import { ata, DATA as IDE_DATA, Ide, regs as ide } from '../piix-ide/ide.ts';

/** What a command came to. */
export interface Answer {
  readonly data: Uint8Array;
  /** Sense key and additional sense code with its qualifier; both 0 where the status is GOOD. */
  readonly key: number;
  readonly code: number;
}

export interface Way {
  readonly machine: Machine;
  readonly drive: Drive;
  /** A command with `data` for the drive, or with room for `data` bytes. */
  run(cdb: readonly number[], data?: Uint8Array | number): Answer;
}

export type Opener = (options: DriveOptions) => Promise<Way>;

/** Room that an ATAPI host gives data whose length it does not know. */
const LIMIT = 4096;
const SENSE = [0x03, 0, 0, 0, 18, 0];
const OUT = new Set([0x15, 0x55]);
const GOOD = { key: 0, code: 0 };

function senseOf(bytes: Uint8Array): { key: number; code: number } {
  return { key: (bytes[2] ?? 0) & 15, code: ((bytes[12] ?? 0) << 8) | (bytes[13] ?? 0) };
}

const room = (data: Uint8Array | number): number => (typeof data === 'number' ? data : data.length);

async function board(options: DriveOptions): Promise<Way> {
  const board = await Board.create({ drive: options, ram: [{ base: 0, bytes: 2 ** 22 }] });
  const { machine } = board;
  const drive = board.drive as Drive;
  return {
    machine,
    drive,
    run(cdb, data = 0) {
      const length = room(data);
      if (typeof data !== 'number') machine.memory.writeBytes(BOARD_DATA, data);
      const ccb = {
        opcode: aha.OPCODE_INITIATOR_RESIDUAL,
        dataLength: length,
        dataPointer: BOARD_DATA,
        cdb: [...cdb],
        target: 1,
      };
      const { target, residual, sense } = board.execute(ccb);
      const got = machine.memory.readBytes(BOARD_DATA, length - residual);
      return { data: got, ...(target === 0 ? GOOD : senseOf(sense)) };
    },
  };
}

async function chip(options: DriveOptions): Promise<Way> {
  const chip = await Chip.create({ drive: options, flavour: 'debug' });
  const { machine } = chip;
  const execute = (cdb: readonly number[], data: Uint8Array | number) => {
    const bytes = room(data);
    if (typeof data !== 'number') machine.memory.writeBytes(CHIP_DATA, data);
    const direction: 'in' | 'out' = OUT.has(cdb[0] ?? 0) ? 'out' : 'in';
    const segments = bytes === 0 ? [] : [[CHIP_DATA, bytes] as const];
    return chip.execute({ target: 3, cdb, direction, segments });
  };
  return {
    machine,
    drive: chip.drive as Drive,
    run(cdb, data = 0) {
      const { status, residual } = execute(cdb, data);
      const got = machine.memory.readBytes(CHIP_DATA, room(data) - residual);
      if (status === 0) return { data: got, ...GOOD };
      execute(SENSE, 18);
      return { data: got, ...senseOf(machine.memory.readBytes(CHIP_DATA, 18)) };
    },
  };
}

/** The error register of a packet that failed holds its sense key: the sense data have to agree. */
function checked(error: number, sense: Uint8Array): { key: number; code: number } {
  const found = senseOf(sense);
  if (found.key !== error >>> 4) throw new Error(`the error register is 0x${error.toString(16)}`);
  return found;
}

function idePio(profile: string): Opener {
  return async (options) => {
    const { machine, ...host } = await makeIde(profile, options);
    const execute = (cdb: readonly number[], data: Uint8Array | number): Uint8Array => {
      const got: Uint8Array[] = [];
      let sent = 0;
      host.ide.sendPacket(cdb, LIMIT);
      machine.settle();
      for (let bytes = host.ide.block(); bytes > 0; bytes = host.ide.block()) {
        if (typeof data === 'number') got.push(host.ide.take(bytes).subarray(0, bytes));
        else host.ide.put(data.subarray(sent, sent + bytes));
        sent += bytes;
        machine.settle();
      }
      return Uint8Array.from(got.flatMap((block) => [...block]));
    };
    return { machine, drive: host.ide.drive, run: (cdb, data = 0) => host.end(execute, cdb, data) };
  };
}

function ideDma(profile: string): Opener {
  return async (options) => {
    const { machine, ...host } = await makeIde(profile, options);
    const execute = (cdb: readonly number[], data: Uint8Array | number): Uint8Array => {
      const { ide: ports } = host;
      const bytes = room(data);
      if (typeof data !== 'number') machine.memory.writeBytes(IDE_DATA, data);
      machine.memory.fill(IDE_DATA + bytes, 0, 16);
      ports.setTable([{ address: IDE_DATA, bytes: Math.max(2, bytes + (bytes & 1)) }]);
      ports.sendPacket(cdb, 0, ata.ATA_PACKET_DMA);
      ports.start(typeof data === 'number');
      machine.settle();
      ports.stop();
      return machine.memory.readBytes(IDE_DATA, bytes);
    };
    return { machine, drive: host.ide.drive, run: (cdb, data = 0) => host.end(execute, cdb, data) };
  };
}

type Execute = (cdb: readonly number[], data: Uint8Array | number) => Uint8Array;

async function makeIde(profile: string, options: DriveOptions) {
  const ports = await Ide.create({
    profile,
    flavour: 'debug',
    places: [],
    diskBytes: 2 ** 22,
    drives: [{ ...options, place: [0, 0] }],
  });
  return {
    machine: ports.machine,
    ide: ports,
    end(execute: Execute, cdb: readonly number[], data: Uint8Array | number): Answer {
      const got = execute(cdb, data);
      const status = ports.read(ide.IDE_STATUS);
      if ((status & ata.ATA_STATUS_ERR) === 0) return { data: got, ...GOOD };
      const error = ports.read(ide.IDE_ERROR);
      return { data: got, ...checked(error, execute(SENSE, 18)) };
    },
  };
}

function ahci(dma: boolean): Opener {
  return async (options) => {
    const port = await hba.Hba.create({ disks: 0, diskBytes: 2 ** 22, drives: [options], flavour: 'debug' });
    const { machine } = port;
    const execute = (cdb: readonly number[], data: Uint8Array | number) => {
      const bytes = room(data);
      if (typeof data !== 'number') machine.memory.writeBytes(hba.DATA, data);
      const tfd = port.execute(
        {
          command: ata.ATA_PACKET,
          feature: dma ? ata.ATA_PACKET_DMA : 0,
          lba: dma ? 0 : LIMIT * 256,
          header: hba.regs.AHCI_HEADER_ATAPI,
          packet: cdb,
        },
        bytes === 0 ? [] : [{ address: hba.DATA, bytes: bytes + (bytes & 1) }],
      );
      return { tfd, data: machine.memory.readBytes(hba.DATA, Math.min(bytes, port.moved())) };
    };
    return {
      machine,
      drive: port.drive,
      run(cdb, data = 0) {
        const { tfd, data: got } = execute(cdb, data);
        if ((tfd & ata.ATA_STATUS_ERR) === 0) return { data: got, ...GOOD };
        port.restart();
        return { data: got, ...checked((tfd >>> 8) & 0xff, execute(SENSE, 18).data) };
      },
    };
  };
}

/** By name; the last one is a virtual machine's. */
export const WAYS: Readonly<Record<string, Opener>> = {
  aha1542: board,
  lsi53c895a: chip,
  'piix-ide by PIO': idePio('piix4'),
  'piix-ide by DMA': ideDma('piix4'),
  'ahci by PIO': ahci(false),
  'ahci by DMA': ahci(true),
};

/** A virtual machine's drive. */
export const VIRTUAL: Opener = idePio('piix3-pc');

/** Hears of the unit attention of power on. */
export function clearAttention(way: Way): void {
  way.run([0, 0, 0, 0, 0, 0]);
}
