#Requires -Version 5.1
<#
.SYNOPSIS
    Count, check and edit the captions of a dataset; every edit can be undone.
.DESCRIPTION
    Takes a folder of pictures with their captions, or a profile. Edits apply to all captions, or to those that -Find names.
    Exit codes: 0 done, 1 you can fix it, 2 wrong words, 3 our bug.
.EXAMPLE
    .\tag.ps1 D:\Datasets\junwool -Stats
.EXAMPLE
    .\tag.ps1 D:\Datasets\junwool -Find '1girl and not solo' -Remove signature -AddFirst junwool
#>
[CmdletBinding()]
param(
    # A folder of pictures, or a profile.
    [Parameter(Position = 0)] [string] $Dataset,
    # All tags with their counts.
    [switch] $Stats,
    # What is odd in pictures and captions.
    [switch] $Check,
    # With -Check: the word that every caption should have.
    [string] $Trigger,
    # With -Check: how many tokens the bake will read: 75, 150 or 225.
    [string] $Tokens,
    # With -Check: the resolution of the bake, in px.
    [string] $Resolution,
    # Only pictures whose tags fit: tags, and, or, not, brackets, * for anything.
    [string] $Find,
    # Tags to put at the end, where missing.
    [string[]] $Add,
    # Tags to put at the front.
    [string[]] $AddFirst,
    # Tags to take away.
    [string[]] $Remove,
    # One tag by another: 1boy=1girl
    [string[]] $Replace,
    # Keep the first of tags that stand there twice.
    [switch] $Dedupe,
    # Sort tags: name or count.
    [string] $Sort,
    # Show what an edit would change.
    [switch] $DryRun,
    # Take back the edit of this number; 0 is the newest.
    [string] $Undo,
    # What was changed here, newest first.
    [switch] $History,
    # Never wait for a key at the end.
    [switch] $NoPause
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Import-Module takes [ and ] in a path for wildcards
Import-Module -Name ([WildcardPattern]::Escape("$PSScriptRoot/ps/launch.psm1")) -Force
Invoke-Lorabake -Script 'tag.py' -Bound $PSBoundParameters -Positional 'Dataset'
exit $LASTEXITCODE
