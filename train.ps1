#Requires -Version 5.1
<#
.SYNOPSIS
    Bake one LoRA per profile.
.DESCRIPTION
    Checks and plans every profile, then trains. Without a profile it lists those in the profiles folder and asks.
    -New asks for everything that a profile holds, shows the plan, and writes it.
    Right-click and "Run with PowerShell" works too. The environment is made on the first start.
    Exit codes: 0 done, 1 you can fix it, 2 wrong words, 3 our bug, 10 out of memory, 11 diverged, 12 disk full,
    13 stopped with its state saved, 20 some jobs failed.
.EXAMPLE
    .\train.ps1 profiles\demo.yaml -PlanOnly
.EXAMPLE
    .\train.ps1 -New
.EXAMPLE
    .\train.ps1 first.yaml,second.yaml -Set train.epochs=3,network.rank=16
.EXAMPLE
    .\train.ps1 first.yaml,second.yaml -At 23:30 -StopBy 07:00 -WhenDone Sleep
#>
[CmdletBinding()]
param(
    # Profile files, or folders of them. The Tab key goes through those of the profiles folder.
    [Parameter(Position = 0)] [ArgumentCompleter({
        param($Name, $Parameter, $Begun, $Line)
        $folder = Join-Path -Path (Split-Path -Path (Resolve-Path -LiteralPath $Line.CommandElements[0].Value).Path) -ChildPath 'profiles'
        Get-ChildItem -LiteralPath $folder -Filter "$Begun*.yaml" | ForEach-Object { "'" + $_.FullName.Replace("'", "''") + "'" }
    })] [string[]] $ProfilePath,
    # Make a new profile by questions and answers; ProfilePath is then its name.
    [switch] $New,
    # With -New: the answers from a file, nobody is asked.
    [string] $Answers,
    # Show the plan, train nothing.
    [switch] $PlanOnly,
    # Override keys of the profile: train.epochs=3
    [string[]] $Set,
    # Start anew instead of continuing; the earlier run is kept.
    [switch] $Fresh,
    # With -PlanOnly: the plan for machines.
    [switch] $Json,
    # With several profiles: go on without those that have mistakes.
    [switch] $SkipBad,
    # Empty the output folder's cache.
    [switch] $ClearCache,
    # Start then, by the Task Scheduler: 23:30
    [string] $At,
    # With -At: Once (as without this word), Daily, Weekdays or Weekly.
    [ArgumentCompleter({ 'once', 'daily', 'weekdays', 'weekly' })] [string] $Repeat,
    # Stop then with the state saved, exit code 13: 07:00
    [string] $StopBy,
    # At the end, after a count-down: Nothing, Sleep, Hibernate or Shutdown.
    [ArgumentCompleter({ 'nothing', 'sleep', 'hibernate', 'shutdown' })] [string] $WhenDone,
    # The scheduled tasks, and how their last runs ended.
    [switch] $List,
    # Take a scheduled task away.
    [string[]] $Remove,
    # Written into the task's own command: when it was to start.
    [string] $Scheduled,
    # Never wait for a key at the end.
    [switch] $NoPause
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Import-Module takes [ and ] in a path for wildcards
Import-Module -Name ([WildcardPattern]::Escape("$PSScriptRoot/ps/launch.psm1")) -Force
Invoke-Lorabake -Script 'train.py' -Bound $PSBoundParameters -Positional 'ProfilePath'
exit $LASTEXITCODE
