// What a scenario's run says: plain data, the same for the terminal, for --json and for the lab page.

import type { Finding } from '../guard/index.ts';

/** A page of the process and what stands in for it on the device's side. */
export interface PageUse {
  /** Physical address of the user's page. */
  readonly user: number;
  /** Physical address that the device is given: the same, or that of a bounce or copy page. */
  readonly device: number;
  readonly kind: 'direct' | 'bounced' | 'copied';
}

/** One element of a scatter-gather list as the driver gave it to the hardware. */
export interface ReportedSegment {
  readonly bus: number;
  readonly bytes: number;
  /** Whether the board's address lines reach all of it. */
  readonly reachable: boolean;
}

/** A stretch of physical memory, and how many pages of each kind lie in it. */
export interface ZoneUse {
  readonly name: string;
  readonly base: number;
  readonly bytes: number;
  readonly userPages: number;
  readonly bouncePages: number;
  readonly bystanderPages: number;
}

export interface ReportedFinding extends Finding {
  /** The part of the scenario in which it was found. */
  readonly part: string;
  /** Whether the scenario declares it. */
  readonly expected: boolean;
}

export interface PartReport {
  readonly title: string;
  readonly kernel: string;
  /** How the process's memory got to the driver, where the kernel has several ways; in order, each once. */
  readonly ways: readonly string[];
  readonly bounce: boolean;
  /** Why the part was not run; null when it was. */
  readonly skipped: string | null;
  readonly ok: boolean;
  /** What failed, one line each. */
  readonly problems: readonly string[];
  readonly readback: {
    readonly sha256: string;
    readonly identical: boolean;
    readonly differingBytes: number;
  };
  readonly pages: { readonly user: number; readonly direct: number; readonly bounced: number };
  readonly copiedBytes: number;
  readonly segments: number;
  readonly requests: number;
  readonly commands: number;
  readonly interrupts: number;
  /** Virtual time in ns. */
  readonly virtualNs: number;
  /** Bytes of memory that belongs to somebody else and changed. */
  readonly overwrittenBytes: number;
  readonly firstOverwritten: number | null;
  readonly findings: readonly ReportedFinding[];
  /** Findings that the guard had no room for. */
  readonly lostFindings: number;
  /** The scatter list of the first command that moved data. */
  readonly firstList: readonly ReportedSegment[];
  readonly firstPages: readonly PageUse[];
  readonly zones: readonly ZoneUse[];
}

export interface RunReport {
  readonly ok: boolean;
  readonly scenario: string;
  readonly about: string;
  readonly seed: number;
  readonly controller: string;
  readonly profile: string;
  readonly board: string;
  readonly addressBits: number;
  /** The first part's; each part names its own. */
  readonly kernel: string;
  /** The file of the caller's own driver; null: ours. */
  readonly driver: string | null;
  readonly input: { readonly path: string; readonly bytes: number; readonly sha256: string };
  readonly disk: { readonly name: string; readonly bytes: number; readonly sectorBytes: number };
  readonly parts: readonly PartReport[];
}

/** The object that `run --json` prints. The figures at the top are those of the first part. */
export function toJson(report: RunReport): object {
  const first = report.parts.find((part) => part.skipped === null);
  return {
    ok: report.ok,
    scenario: report.scenario,
    seed: report.seed,
    controller: report.controller,
    profile: report.profile,
    kernel: report.kernel,
    driver: report.driver,
    input: report.input,
    disk: report.disk,
    ...(first === undefined ? {} : figures(first)),
    findings: report.parts.flatMap((part) => part.findings),
    parts: report.parts.map((part) => ({
      title: part.title,
      kernel: part.kernel,
      ...(part.ways.length === 0 ? {} : { ways: part.ways }),
      bounce: part.bounce,
      ok: part.ok,
      ...(part.skipped === null ? figures(part) : { skipped: part.skipped }),
      problems: part.problems,
      findings: part.findings.map(({ rule, count, expected }) => ({ rule, count, expected })),
    })),
  };
}

function figures(part: PartReport): object {
  const { sha256, identical } = part.readback;
  return {
    readback: { sha256, identical, differingBytes: part.readback.differingBytes },
    pages: part.pages,
    copiedBytes: part.copiedBytes,
    segments: part.segments,
    requests: part.requests,
    commands: part.commands,
    interrupts: part.interrupts,
    virtualNs: part.virtualNs,
    overwrittenBytes: part.overwrittenBytes,
  };
}
