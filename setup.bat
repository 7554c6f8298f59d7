@echo off
rem Makes or repairs lorabake's environment: finds a 64-bit Python 3.11 to 3.13, hands its words on to py\setup.py,
rem returns the exit code. Double-click it, or:   setup.bat -Check     (looks, changes nothing)
rem Here is no setting, no pip and no download. Nothing outside this folder is changed; where there is no Python, winget
rem brings one for this user, after a yes. Delayed expansion is off wherever a path is handled: it would eat each !
setlocal EnableExtensions DisableDelayedExpansion
for %%V in (PYTHONHOME PYTHONPATH PYTHONSTARTUP __PYVENV_LAUNCHER__) do set "%%V="
set "PYTHON_MANAGER_AUTOMATIC_INSTALL=false"
set "CODE=1"
set "TRIED="
set "HERE=%~dp0"
set "WORDS=%~1"

rem Who may be asked: a person who double-clicked, or typed it in a window of cmd, without words. Explorer starts
rem    cmd.exe /c ""...\setup.bat" "
rem with a blank that neither the Task Scheduler nor another program writes.
set "ASK="
set "PAUSE="
if not defined WORDS call :started

if not "%HERE:~0,2%"=="\\" goto search
>&2 echo setup.bat: this folder is on the network, and cmd.exe cannot work in "%HERE%"
>&2 echo   copy the lorabake folder to a disk of this PC, C:\lorabake for example, and start its setup.bat
>&2 echo   or give the share a drive letter (Explorer, This PC, Map network drive) and start setup.bat from that drive
goto done

:search
rem A Python that does not fit says so on stdout; the Store's placeholder and an absent one only complain on stderr.
set "FITS=import sys; v = sys.version_info; b = 64 if sys.maxsize > 2**32 else 32; ok = (3, 11) <= v[:2] <= (3, 13) and b == 64"
set "FITS=%FITS%; ok or sys.stdout.write('not used: Python {}.{}, {} bits: {}\n'.format(v[0], v[1], b, sys.executable)); sys.exit(not ok)"

set "PY=py.exe"
for %%V in (-3.12 -3.13 -3.11) do set "WHICH=%%V" & call :fits && goto found
set "WHICH="
for /f "delims=" %%P in ('where python.exe 2^>nul') do set "PY=%%P" & call :fits && goto found
for %%V in (312 313 311 310 39 38 312-32 313-32 311-32) do for %%D in ("%LOCALAPPDATA%\Programs\Python" "%ProgramFiles%" "%SystemDrive%") do if exist "%%~D\Python%%V\python.exe" set "PY=%%~D\Python%%V\python.exe" & call :fits && goto found
for %%K in (HKCU HKLM) do for /f "tokens=2,*" %%A in ('reg query %%K\Software\Python\PythonCore /s /v ExecutablePath 2^>nul') do if "%%A"=="REG_SZ" set "PY=%%B" & call :fits && goto found

>&2 echo setup.bat: no 64-bit Python 3.11 to 3.13 was found
>&2 echo   looked at: the py launcher, PATH, your Programs\Python folder, Program Files, %SystemDrive%\Python31x, the registry
>&2 echo   (a python.exe that opens the Microsoft Store is only a placeholder)
set "WINGET=winget install --exact --id Python.Python.3.12 --source winget --scope user"
where winget >nul 2>nul && goto offer
>&2 echo   install Python 3.12 (64-bit) from https://www.python.org/downloads/windows/ and start setup.bat again
goto done

:offer
>&2 echo   this installs one for you alone, beside any other:   %WINGET%
set "YES="
if defined ASK if not defined TRIED set /p "YES=Type y and Enter to run it now, Enter alone to leave it: "
if /i "%YES:~0,1%"=="y" goto install
>&2 echo   run it, then start setup.bat again
goto done

:install
set "TRIED=1"
cmd.exe /c %WINGET%
if errorlevel 1 >&2 echo setup.bat: winget ended with code %ERRORLEVEL%
goto search

:found
set "LORABAKE_ASK=%ASK%"
set "LORABAKE_BATCH=1"
"%PY%" %WHICH% "%HERE%py\setup.py" %*
set "CODE=%ERRORLEVEL%"

:done
if defined PAUSE pause
exit /b %CODE%

:fits
"%PY%" %WHICH% -c "%FITS%" 2>nul
exit /b %ERRORLEVEL%

:started
setlocal EnableDelayedExpansion
set "LINE=!CMDCMDLINE:"='!"
set "CLICK="
set "TYPED=1"
if /i not "!LINE:setup.bat=!"=="!LINE!" set "TYPED="
if not defined TYPED if "!LINE:~-3!"=="' '" set "CLICK=1"
if defined CLICK set "TYPED=1"
endlocal & set "ASK=%TYPED%" & set "PAUSE=%CLICK%"
exit /b 0
